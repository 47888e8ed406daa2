// Who may use a workspace now? A lock that a forked child finds open, whichever thread of its parent held it.
//
// A child has a copy of every lock and none of the threads that would open them: with std::mutex it waited for ever.
#pragma once
#include <atomic>

#include "runtime/pool.hpp"

namespace fffbench {

class ForkLock {
public:
    void lock() {
        const unsigned held = 2 * fork_generation() + 1;
        unsigned seen = state_.load(std::memory_order_relaxed);
        for (;;) {
            if (seen == held) {
                state_.wait(seen, std::memory_order_relaxed);
                seen = state_.load(std::memory_order_relaxed);
            } else if (state_.compare_exchange_weak(seen, held, std::memory_order_acquire)) {
                return;  // it was open, or held in a process that this one is a child of
            }
        }
    }
    void unlock() {
        state_.store(2 * fork_generation(), std::memory_order_release);
        state_.notify_one();
    }

private:
    std::atomic<unsigned> state_{0};  // twice the generation in which it was last used, and 1 where it is held
};

}  // namespace fffbench
