// Memory of a thread that kernels write to before they read from it. A board's kernels have theirs in the arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>

namespace ftte::host {

// Room for elements that keeps its greatest size; one for each use, so that uses do not disturb each other.
class Scratch {
 public:
  Scratch() = default;
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::free(data_); }

  template <class T>
  T* of(int32_t count) {
    const size_t bytes = static_cast<size_t>(count) * sizeof(T);
    if (bytes > capacity_) grow(bytes);
    return static_cast<T*>(data_);
  }

 private:
  void grow(size_t bytes) {
    std::free(data_);
    capacity_ = (bytes + 4095) & ~size_t{4095};
    data_ = std::aligned_alloc(64, capacity_);
    if (data_ == nullptr) std::abort();  // no caller could go on
  }

  void* data_ = nullptr;
  size_t capacity_ = 0;
};

}  // namespace ftte::host
