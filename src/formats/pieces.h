#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <system_error>
#include <thread>
#include <vector>

namespace graft::formats {

// Runs work(0) .. work(pieces - 1), each once, on as many threads as there are cores, which take one piece after the
// other. A piece should be worth about a millisecond. `work` does not throw.
template <class Work>
void for_each_piece(size_t pieces, const Work& work) {
  std::atomic<size_t> next{0};
  const auto run = [&] {
    for (size_t piece = next++; piece < pieces; piece = next++) work(piece);
  };
  const size_t threads = std::min<size_t>(std::max(1U, std::thread::hardware_concurrency()), pieces);
  std::vector<std::thread> helpers;
  try {
    for (size_t i = 1; i < threads; ++i) helpers.emplace_back(run);
  } catch (const std::system_error&) {
    // No more threads to be had: those there are do it.
  }
  run();
  for (std::thread& helper : helpers) helper.join();
}

}  // namespace graft::formats
