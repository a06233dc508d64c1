// What pixels add to others: found on all threads, added up in one order.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "../windows.h"

namespace depthbokeh {

// Of one chunk of pixels.
template <typename Real>
struct Contributions {
  std::vector<std::pair<int64_t, Real>> to;
  double strength = 0;  // to that of the chunk's picture

  void add(int64_t at, Real gradient) {
    if (gradient != 0) to.emplace_back(at, gradient);
  }
  // To where a value within a pixel's window comes from.
  void add(const Windows<Real>& w, int64_t at, Real value, Real gradient) {
    if (gradient != 0) to.emplace_back(find_value(w, at, value), gradient);
  }
};

template <typename Real>
void add_up(const std::vector<Contributions<Real>>& chunks, Real* to) {
  for (const Contributions<Real>& chunk : chunks)
    for (const auto& [at, value] : chunk.to) to[at] += value;
}

// Every picture has `each` chunks.
template <typename Real>
void add_up_strength(const std::vector<Contributions<Real>>& chunks, size_t each, Real* to) {
  for (size_t first = 0; first < chunks.size(); first += each, ++to) {
    double sum = 0;
    for (size_t i = 0; i < each; ++i) sum += chunks[first + i].strength;
    *to = Real(sum);
  }
}

}  // namespace depthbokeh
