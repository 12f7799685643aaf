#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>

namespace graft {

// kBar: one line that is redrawn in place, for terminals. kLines: a plain line every few seconds, for log files and
// pipes. kQuiet: nothing at all, for --json.
enum class ProgressStyle { kBar, kLines, kQuiet };

// kBar where the file descriptor is a terminal that can move the cursor, kLines elsewhere.
ProgressStyle progress_style_for(int fd);

// "1h 02m", "3m 05s", "12s"; negative or not finite: "?".
std::string format_duration(double seconds);

// Tells a person how far a long job is and how long it will still take. One thread at a time.
class Progress {
 public:
  using Clock = std::chrono::steady_clock;

  struct Options {
    ProgressStyle style = ProgressStyle::kLines;
    std::string label;          // "training", "scoring"
    std::string unit = "step";  // what is counted
    int64_t total = 0;          // 0: not known, no time left is shown
    int64_t done = 0;           // where a resumed job begins; not counted into the speed
    double elapsed = 0;         // seconds that the work after `done` had been going on before this was made
    int32_t columns = 0;        // width of the terminal; 0: ask it
    std::function<Clock::time_point()> now = Clock::now;
  };

  // `out` outlives the object.
  Progress(std::ostream& out, Options options);
  ~Progress();  // leaves the cursor on a line of its own
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // `detail` stands behind the count: "loss 1.234  512 tokens/s". Draws at most ten times a second (kBar) or once
  // every five seconds (kLines); the last step is always drawn.
  void update(int64_t done, std::string_view detail);
  // A line that stays, above the bar.
  void note(std::string_view line);
  void finish();  // draws the last state and ends the line; more calls do nothing

 private:
  [[nodiscard]] std::string line() const;
  [[nodiscard]] std::string bar(int32_t width) const;
  [[nodiscard]] std::string time_left() const;
  void draw();
  void clear_bar();

  std::ostream& out_;
  Options options_;
  Clock::time_point started_;
  std::optional<Clock::time_point> drawn_at_;
  int64_t first_ = 0;
  int64_t done_ = 0;
  int64_t drawn_done_ = -1;
  std::string detail_;
  bool bar_on_screen_ = false;
  bool finished_ = false;
};

}  // namespace graft
