#include "base/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace graft {
namespace {

constexpr auto kBarInterval = std::chrono::milliseconds(100);
constexpr auto kLineInterval = std::chrono::seconds(5);
constexpr int32_t kBarWidth = 24;

int32_t terminal_columns() {
  winsize size{};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

}  // namespace

ProgressStyle progress_style_for(int fd) {
  const char* terminal = std::getenv("TERM");
  const bool dumb = terminal == nullptr || std::string_view(terminal) == "dumb";
  return isatty(fd) == 1 && !dumb ? ProgressStyle::kBar : ProgressStyle::kLines;
}

std::string format_duration(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0 || seconds > 1e9) return "?";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole >= 3600) return fmt::format("{}h {:02}m", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{}m {:02}s", whole / 60, whole % 60);
  return fmt::format("{}s", whole);
}

Progress::Progress(std::ostream& out, Options options)
    : out_(out),
      options_(std::move(options)),
      started_(options_.now() -
               std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(options_.elapsed))),
      first_(options_.done),
      done_(options_.done) {}

Progress::~Progress() { finish(); }

void Progress::update(int64_t done, std::string_view detail) {
  if (finished_ || options_.style == ProgressStyle::kQuiet) return;
  done_ = done;
  detail_ = detail;
  const auto interval =
      options_.style == ProgressStyle::kBar ? Clock::duration(kBarInterval) : Clock::duration(kLineInterval);
  const bool due = !drawn_at_ || options_.now() - *drawn_at_ >= interval;
  const bool last = options_.total > 0 && done_ >= options_.total && drawn_done_ != done_;
  if (due || last) draw();
}

void Progress::note(std::string_view line) {
  if (options_.style == ProgressStyle::kQuiet) return;
  const bool redraw = bar_on_screen_;
  clear_bar();
  out_ << line << '\n' << std::flush;
  if (redraw && !finished_) draw();
}

void Progress::finish() {
  if (finished_) return;
  finished_ = true;
  if (options_.style == ProgressStyle::kQuiet) return;
  if (drawn_done_ != -1 && drawn_done_ != done_) draw();
  if (bar_on_screen_) out_ << '\n' << std::flush;
  bar_on_screen_ = false;
}

void Progress::draw() {
  drawn_at_ = options_.now();
  drawn_done_ = done_;
  if (options_.style == ProgressStyle::kLines) {
    out_ << line() << '\n' << std::flush;
    return;
  }
  const int32_t columns = options_.columns > 0 ? options_.columns : terminal_columns();
  std::string text = line();
  // The bar gives way before the numbers do.
  const auto room = static_cast<int32_t>(columns) - static_cast<int32_t>(text.size()) - 4;
  if (options_.total > 0 && room >= 8) {
    text.insert(options_.label.size() + 1, bar(std::min(room, kBarWidth)) + " ");
  }
  if (static_cast<int32_t>(text.size()) > columns - 1) text.resize(static_cast<size_t>(std::max(columns - 1, 1)));
  out_ << '\r' << text << "\x1b[K" << std::flush;
  bar_on_screen_ = true;
}

void Progress::clear_bar() {
  if (!bar_on_screen_) return;
  out_ << "\r\x1b[K";
  bar_on_screen_ = false;
}

std::string Progress::line() const {
  std::string text = options_.label + " ";
  text += options_.total > 0 ? fmt::format("{} {}/{}", options_.unit, done_, options_.total)
                             : fmt::format("{} {}", options_.unit, done_);
  if (!detail_.empty()) text += "  " + detail_;
  const std::string left = time_left();
  if (!left.empty()) text += "  " + left;
  return text;
}

std::string Progress::bar(int32_t width) const {
  const double share = std::clamp(static_cast<double>(done_) / static_cast<double>(options_.total), 0.0, 1.0);
  const auto filled = static_cast<size_t>(share * width);
  return "[" + std::string(filled, '=') + std::string(static_cast<size_t>(width) - filled, '.') + "]";
}

std::string Progress::time_left() const {
  const double elapsed = std::chrono::duration<double>(options_.now() - started_).count();
  if (finished_ || (options_.total > 0 && done_ >= options_.total)) return "took " + format_duration(elapsed);
  if (options_.total <= 0 || done_ <= first_) return "";
  const double per_unit = elapsed / static_cast<double>(done_ - first_);
  return format_duration(per_unit * static_cast<double>(options_.total - done_)) + " left";
}

}  // namespace graft
