// The emulation's scheduler: fibers, barriers, blocks one after another.
#include "cuda_emu.h"

#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

dim3 threadIdx, blockIdx;

namespace depthbokeh::emu {

void* shared_memory = nullptr;

namespace {

constexpr size_t kStack = 256 << 10;
constexpr int kWarp = 32, kMostThreads = 1024;

enum class State { kReady, kAtBlock, kAtWarp, kEnded };

// A context that can be left and entered again. With an address sanitizer through swapcontext, which it understands if
// it is told; else by setjmp, which is ten times as fast as it makes no system call.
struct Context {
  ucontext_t context;
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  const void* stack = nullptr;
  size_t size = 0;
#else
  jmp_buf place;
  bool left = false;  // and can be entered again by longjmp
#endif
};

struct Fiber {
  Context context;
  State state = State::kEnded;
  int line = 0;
  uint64_t value = 0;
};

struct Warp {
  uint64_t brought[kWarp];
};

struct Scheduler {
  Context home;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Warp> warps;
  const std::function<void()>* kernel = nullptr;
  int current = 0, threads = 0;
  int64_t order = 0;
  bool vote = false;
  std::mt19937 random{1};
};

Scheduler scheduler;

void leave(Context& from, Context& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&from.fake_stack, to.stack, to.size);
  swapcontext(&from.context, &to.context);
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#else
  from.left = true;
  if (_setjmp(from.place)) return;
  if (to.left) _longjmp(to.place, 1);
  setcontext(&to.context);
#endif
}

// Fibers are used again: each runs one thread of every block.
void run_fiber() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, &scheduler.home.stack, &scheduler.home.size);
#endif
  for (;;) {
    Fiber& self = *scheduler.fibers[scheduler.current];
    (*scheduler.kernel)();
    self.state = State::kEnded;
    leave(self.context, scheduler.home);
  }
}

std::unique_ptr<Fiber> make_fiber() {
  auto fiber = std::make_unique<Fiber>();
  void* stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) throw std::bad_alloc();
  ucontext_t& context = fiber->context.context;
  getcontext(&context);
  context.uc_stack.ss_sp = stack;
  context.uc_stack.ss_size = kStack;
  context.uc_link = nullptr;
  makecontext(&context, run_fiber, 0);
#if defined(__SANITIZE_ADDRESS__)
  fiber->context.stack = stack;
  fiber->context.size = kStack;
#endif
  return fiber;
}

// Lets the threads begin..end go on if all of them that have not ended wait at one and the same place.
bool release(State waiting, int begin, int end) {
  int line = -1;
  for (int i = begin; i < end; ++i) {
    const Fiber& fiber = *scheduler.fibers[i];
    if (fiber.state == State::kEnded) continue;
    if (fiber.state != waiting || (line >= 0 && fiber.line != line)) return false;
    line = fiber.line;
  }
  if (line < 0) return false;
  for (int i = begin; i < end; ++i)
    if (scheduler.fibers[i]->state == waiting) scheduler.fibers[i]->state = State::kReady;
  return true;
}

bool release_warp(int warp) {
  const int begin = warp * kWarp, end = begin + kWarp;
  // All lanes take part in every warp-wide operation of these kernels.
  if (end > scheduler.threads) return false;
  for (int i = begin; i < end; ++i)
    if (scheduler.fibers[i]->state == State::kEnded) return false;
  if (!release(State::kAtWarp, begin, end)) return false;
  for (int i = begin; i < end; ++i) scheduler.warps[warp].brought[i - begin] = scheduler.fibers[i]->value;
  return true;
}

bool release_block() {
  if (!release(State::kAtBlock, 0, scheduler.threads)) return false;
  scheduler.vote = false;
  for (int i = 0; i < scheduler.threads; ++i) scheduler.vote = scheduler.vote || scheduler.fibers[i]->value;
  return true;
}

// Runs every thread that is ready until it waits or ends.
bool take_turns(const std::vector<int>& turns) {
  bool ran = false;
  for (int i : turns) {
    Fiber& fiber = *scheduler.fibers[i];
    if (fiber.state != State::kReady) continue;
    ran = true;
    scheduler.current = i;
    threadIdx.x = i;
    leave(scheduler.home, fiber.context);
  }
  return ran;
}

void run_block(std::vector<int>& turns) {
  for (int i = 0; i < scheduler.threads; ++i) {
    scheduler.fibers[i]->state = State::kReady;
    scheduler.fibers[i]->value = 0;
  }
  for (;;) {
    if (scheduler.order == 2) std::shuffle(turns.begin(), turns.end(), scheduler.random);
    bool moved = take_turns(turns);
    for (int warp = 0; warp * kWarp < scheduler.threads; ++warp) moved = release_warp(warp) || moved;
    moved = release_block() || moved;
    if (moved) continue;
    for (int i = 0; i < scheduler.threads; ++i)
      if (scheduler.fibers[i]->state != State::kEnded)
        throw std::runtime_error("threads wait for each other at different places, one of them line " +
                                 std::to_string(scheduler.fibers[i]->line));
    return;
  }
}

void wait(State state, uint64_t value, int line) {
  Fiber& self = *scheduler.fibers[scheduler.current];
  self.state = state;
  self.value = value;
  self.line = line;
  leave(self.context, scheduler.home);
}

}  // namespace

void set_order(int64_t order) { scheduler.order = order; }

bool meet_block(bool vote, int line) {
  wait(State::kAtBlock, vote, line);
  return scheduler.vote;
}

const uint64_t* meet_warp(uint64_t value, int line) {
  wait(State::kAtWarp, value, line);
  return scheduler.warps[scheduler.current / kWarp].brought;
}

size_t& shared_limit(const void* kernel) {
  static std::map<const void*, size_t> limits;
  return limits.try_emplace(kernel, 48 << 10).first->second;
}

cudaError_t run_grid(const cudaLaunchConfig_t& config, size_t shared_limit, const std::function<void()>& kernel) {
  const int threads = static_cast<int>(config.blockDim.x);
  if (threads < 1 || threads > kMostThreads || config.dynamicSmemBytes > shared_limit)
    return cudaErrorInvalidConfiguration;
  while (static_cast<int>(scheduler.fibers.size()) < threads) scheduler.fibers.push_back(make_fiber());
  scheduler.warps.resize(kMostThreads / kWarp);
  scheduler.kernel = &kernel;
  scheduler.threads = threads;
  std::vector<int> turns(threads);
  std::iota(turns.begin(), turns.end(), 0);
  if (scheduler.order == 1) std::reverse(turns.begin(), turns.end());
  for (unsigned block = 0; block < config.gridDim.x; ++block) {
    // malloc aligns to 16 bytes, which is what the kernels' types ask for.
    const std::unique_ptr<void, decltype(&std::free)> shared(std::malloc(config.dynamicSmemBytes), &std::free);
    std::memset(shared.get(), 0xff, config.dynamicSmemBytes);
    shared_memory = shared.get();
    blockIdx.x = block;
    run_block(turns);
  }
  return cudaSuccess;
}

}  // namespace depthbokeh::emu
