#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "load/load_options.h"
#include "net/http_client.h"

namespace graft::load {

// How an API wants to be asked.
net::ClientRequest make_request(const LoadOptions& options, const Prompt& prompt, const std::string& model);

// What an answer says, fed event by event or as one JSON body.
class AnswerReader {
 public:
  explicit AnswerReader(Api api) : api_(api) {}

  // The payload of an event; true: it carried a token (or several, where the server sends them together).
  bool read_event(std::string_view data);
  void read_whole(std::string_view body);  // of status 200

  // The server's own counts where it gives them; else the events that carried something.
  [[nodiscard]] int64_t output_tokens() const { return reported_output_ >= 0 ? reported_output_ : token_events_; }
  [[nodiscard]] int64_t prompt_tokens() const { return prompt_tokens_; }
  [[nodiscard]] bool finished() const { return finished_; }          // the answer was whole
  [[nodiscard]] const std::string& error() const { return error_; }  // the kind of an error inside the answer
  [[nodiscard]] const std::string& error_text() const { return error_text_; }

 private:
  bool read_openai(const nlohmann::json& json);
  bool read_lorax(const nlohmann::json& json);
  void take_usage(const nlohmann::json& usage, const char* prompt, const char* output);
  void take_error(const nlohmann::json& json);

  Api api_;
  int64_t token_events_ = 0;
  int64_t reported_output_ = -1;
  int64_t prompt_tokens_ = 0;
  bool finished_ = false;
  std::string error_;
  std::string error_text_;
};

// Kind and text of an answer that is no success: "http 429 overloaded".
std::pair<std::string, std::string> refusal(int status, std::string_view body);

}  // namespace graft::load
