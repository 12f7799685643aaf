// TLS with a certificate made here, against Python's ssl module and against raw sockets.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

#include "base/test_directory.h"
#include "base/test_python.h"
#include "net/http_server.h"
#include "net/test_client.h"

namespace graft::net {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::StartsWith;

constexpr const char* kMakeCertificate = R"(
import datetime, ipaddress, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
folder = sys.argv[1]
for name in ("a", "b"):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256()))
    open(f"{folder}/{name}.crt", "wb").write(certificate.public_bytes(serialization.Encoding.PEM))
    open(f"{folder}/{name}.key", "wb").write(key.private_bytes(serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
)";

// Three requests on one connection: short, long in both directions, and a stream; then how the server ends the line.
constexpr const char* kClient = R"(
import http.client, socket, ssl, sys
folder, port = sys.argv[1], int(sys.argv[2])
context = ssl.create_default_context(cafile=f"{folder}/a.crt")
connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=20)
connection.request("GET", "/hello")
assert connection.getresponse().read() == b"hello"
body = bytes(range(256)) * 4096
connection.request("POST", "/echo", body)
assert connection.getresponse().read() == body
connection.request("GET", "/stream")
assert connection.getresponse().read() == b"data: 0\n\ndata: 1\n\ndata: 2\n\n"
connection.close()
raw = context.wrap_socket(socket.create_connection(("127.0.0.1", port)), server_hostname="127.0.0.1")
raw.suppress_ragged_eofs = False
raw.sendall(b"GET /hello HTTP/1.1\r\nConnection: close\r\n\r\n")
answer = b""
while True:
    piece = raw.recv(4096)  # raises where the end is not close_notify
    if not piece:
        break
    answer += piece
assert answer.endswith(b"hello"), answer
old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
old.maximum_version = ssl.TLSVersion.TLSv1_1
try:
    old.wrap_socket(socket.create_connection(("127.0.0.1", port)))
    raise SystemExit("TLS 1.1 was accepted")
except ssl.SSLError:
    pass
print("fine")
)";

class Tls : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TestDirectory;
    run_python(kMakeCertificate, {folder_->path().string()});
  }
  static void TearDownTestSuite() { delete folder_; }

  static std::string file(const std::string& name) { return (folder_->path() / name).string(); }

  static Result<std::unique_ptr<HttpServer>> serve(ServerOptions options) {
    Router router;
    router.add("GET", "/hello", [](const Request&, const ResponseWriter& w) { w.send(Response::text(200, "hello")); });
    router.add("POST", "/echo",
               [](Request q, const ResponseWriter& w) { w.send(Response::text(200, std::move(q.body))); });
    router.add("GET", "/stream", [](const Request&, const ResponseWriter& w) {
      w.begin(StreamHead::sse());
      for (const char* text : {"0", "1", "2"}) EXPECT_EQ(w.write(sse_event(text)), WriteState::kOk);
      w.end();
    });
    return HttpServer::start(std::move(options), std::move(router));
  }

  static ServerOptions options() {
    ServerOptions o;
    o.tls_certificate = file("a.crt");
    o.tls_key = file("a.key");
    return o;
  }

  static TestDirectory* folder_;
};

TestDirectory* Tls::folder_ = nullptr;

TEST_F(Tls, PythonsClientIsServed) {
  const auto server = serve(options());
  ASSERT_TRUE(server.ok()) << server.error().message;
  EXPECT_THAT(run_python(kClient, {folder_->path().string(), std::to_string(server.value()->port())}),
              HasSubstr("fine"));
}

TEST_F(Tls, WrongFilesAreNamed) {
  const auto refusal = [](ServerOptions o) {
    const auto server = serve(std::move(o));
    return server.ok() ? "accepted" : server.error().message;
  };
  ServerOptions o = options();
  o.tls_key = file("b.key");  // of the other certificate
  EXPECT_THAT(refusal(o), StartsWith("--tls-key " + file("b.key")));
  o.tls_key = file("none.key");
  EXPECT_THAT(refusal(o), HasSubstr("cannot be read"));
  o.tls_key = "";
  EXPECT_THAT(refusal(o), HasSubstr("--tls-key is missing"));
  o = options();
  o.tls_certificate = file("a.key");
  EXPECT_THAT(refusal(o), StartsWith("--tls-cert " + file("a.key")));
}

TEST_F(Tls, WhoDoesNotSpeakItIsCut) {
  ServerOptions o = options();
  o.header_timeout = 100ms;
  const auto server = serve(o);
  ASSERT_TRUE(server.ok());
  RawClient plain(server.value()->port());
  ASSERT_TRUE(plain.send("GET /hello HTTP/1.1\r\n\r\n"));
  EXPECT_THAT(plain.read_all(), ::testing::Not(HasSubstr("hello")));
  RawClient silent(server.value()->port());
  silent.read_all();  // ends with the handshake's time
  EXPECT_THAT(run_python(kClient, {folder_->path().string(), std::to_string(server.value()->port())}),
              HasSubstr("fine"));
}

TEST_F(Tls, StopEndsOpenConnections) {
  const auto server = serve(options());
  ASSERT_TRUE(server.ok());
  RawClient silent(server.value()->port());
  server.value()->stop();
  silent.read_all();
}

}  // namespace
}  // namespace graft::net
