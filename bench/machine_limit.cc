// machine_limit THREADS: what the cores can do at best, as JSON: bytes read from memory, operations of multiply-adds on
// registers ({"read_bytes_per_s", "bf16_flops", "int8_ops"}); 0 where the instruction is missing.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <numeric>
#include <thread>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

double seconds(int threads, const std::function<void(int)>& work) {
  const auto start = std::chrono::steady_clock::now();
  std::vector<std::thread> team;
  for (int i = 0; i < threads; ++i) team.emplace_back(work, i);
  for (std::thread& thread : team) thread.join();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

double best_of(int times, const std::function<double()>& measure) {
  double best = 0;
  for (int i = 0; i < times; ++i) best = std::max(best, measure());
  return best;
}

volatile uint64_t sink = 0;

double read_bytes_per_second(int threads) {
  const size_t words = (size_t{256} << 20) / sizeof(uint64_t);
  std::vector<std::vector<uint64_t>> memory(static_cast<size_t>(threads), std::vector<uint64_t>(words, 1));
  const auto read = [&](int i) {
    const auto& mine = memory[static_cast<size_t>(i)];
    sink = std::accumulate(mine.begin(), mine.end(), uint64_t{0});
  };
  return best_of(5, [&] { return threads * static_cast<double>(words * sizeof(uint64_t)) / seconds(threads, read); });
}

#if defined(__x86_64__)
constexpr int64_t kRounds = 10'000'000;
constexpr int kChains = 24;

__attribute__((target("avx512f,avx512bf16"))) void multiply_bf16(int) {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  const auto one = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80));
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 24
    for (__m512& sum : sums) sum = _mm512_dpbf16_ps(sum, one, one);
  }
  float total = 0;
  for (const __m512& sum : sums) total += _mm512_cvtss_f32(sum);
  sink = static_cast<uint64_t>(total);
}

__attribute__((target("avx512f,avx512vnni"))) void multiply_int8(int) {
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  const __m512i one = _mm512_set1_epi8(1);
  for (int64_t i = 0; i < kRounds; ++i) {
#pragma GCC unroll 24
    for (__m512i& sum : sums) sum = _mm512_dpbusd_epi32(sum, one, one);
  }
  uint64_t total = 0;
  for (const __m512i& sum : sums) total += static_cast<uint64_t>(_mm512_cvtsi512_si32(sum));
  sink = total;
}

double operations(int threads, const std::function<void(int)>& multiply, double per_instruction) {
  return best_of(3, [&] {
    return threads * static_cast<double>(kRounds) * kChains * per_instruction / seconds(threads, multiply);
  });
}
double bf16_flops(int threads) {
  return __builtin_cpu_supports("avx512bf16") != 0 ? operations(threads, multiply_bf16, 64) : 0;
}
double int8_ops(int threads) {
  return __builtin_cpu_supports("avx512vnni") != 0 ? operations(threads, multiply_int8, 128) : 0;
}
#else
double bf16_flops(int) { return 0; }
double int8_ops(int) { return 0; }
#endif

}  // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  std::cout << "{\"read_bytes_per_s\": " << read_bytes_per_second(threads)
            << ", \"bf16_flops\": " << bf16_flops(threads) << ", \"int8_ops\": " << int8_ops(threads) << "}\n";
}
