#include "net/tls.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>

namespace graft::net {
namespace ssl = boost::asio::ssl;
using boost::system::error_code;

namespace {

Status readable(const std::string& option, const std::string& path) {
  if (path.empty()) return invalid(fmt::format("{} is missing: TLS needs a certificate and its key", option));
  if (!std::ifstream(path)) return io_error(fmt::format("{} {}: cannot be read", option, path));
  return {};
}

}  // namespace

Result<std::shared_ptr<ssl::context>> make_tls_context(const std::string& certificate, const std::string& key) {
  GRAFT_CHECK_OK(readable("--tls-cert", certificate));
  GRAFT_CHECK_OK(readable("--tls-key", key));
  auto context = std::make_shared<ssl::context>(ssl::context::tls_server);
  error_code error;
  context->set_options(ssl::context::default_workarounds | ssl::context::no_sslv2 | ssl::context::no_sslv3 |
                           ssl::context::no_tlsv1 | ssl::context::no_tlsv1_1,
                       error);
  if (!error) context->use_certificate_chain_file(certificate, error);
  if (error) return invalid(fmt::format("--tls-cert {}: no certificate in PEM ({})", certificate, error.message()));
  // A key with a passphrase is an error, not a question at the terminal.
  context->set_password_callback([](size_t, ssl::context::password_purpose) { return std::string(); }, error);
  context->use_private_key_file(key, ssl::context::pem, error);
  if (error) {
    return invalid(fmt::format("--tls-key {}: not the certificate's private key in PEM, without a passphrase ({})", key,
                               error.message()));
  }
  return context;
}

}  // namespace graft::net
