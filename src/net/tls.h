#pragma once

// Internal to the room: includes Asio's TLS. Only connection.* and http_server.cc may include this.

#include <boost/asio/ssl/context.hpp>
#include <memory>
#include <string>

#include "base/result.h"

namespace graft::net {

// TLS 1.2 and 1.3 for a server. `certificate`: PEM, the server's own first, then those that lead to the root;
// `key`: PEM, without a passphrase. Errors: io (cannot be read), invalid (no certificate, or the key of another one).
Result<std::shared_ptr<boost::asio::ssl::context>> make_tls_context(const std::string& certificate,
                                                                    const std::string& key);

}  // namespace graft::net
