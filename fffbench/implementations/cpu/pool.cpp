// How are worker threads kept, woken and waited for?
#include "pool.hpp"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fffbench {
namespace {

// How long an idle worker watches for work before it sleeps: longer than the gap between the phases of a call, short
// enough to leave the core to others. Waking a sleeper costs 5 to 50 us.
constexpr std::chrono::microseconds SPIN{50};
constexpr int SPIN_BATCH = 32;  // pauses between two looks at the clock

inline void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

// Until `value` differs from `old`; returns the new value.
int await_change(const std::atomic<int>& value, int old) {
    const auto deadline = std::chrono::steady_clock::now() + SPIN;
    do {
        for (int i = 0; i < SPIN_BATCH; ++i) {
            const int now = value.load(std::memory_order_acquire);
            if (now != old) return now;
            pause_cpu();
        }
    } while (std::chrono::steady_clock::now() < deadline);
    value.wait(old, std::memory_order_acquire);
    return value.load(std::memory_order_acquire);
}

struct alignas(64) Ticket {
    std::atomic<int> number{0};  // changes when there is work for this worker
};

struct Pool {
    std::mutex busy;
    std::vector<std::unique_ptr<Ticket>> tickets;  // of workers 1, 2, ...
    Work work = nullptr;
    void* context = nullptr;
    alignas(64) std::atomic<int> pending{0};

    void grow(int threads) {
        while (static_cast<int>(tickets.size()) + 1 < threads) {
            auto ticket = std::make_unique<Ticket>();
            const int worker = static_cast<int>(tickets.size()) + 1;
            tickets.reserve(tickets.size() + 1);
            std::thread(&Pool::serve, this, std::ref(*ticket), worker).detach();
            tickets.push_back(std::move(ticket));
        }
    }

    void serve(Ticket& ticket, int worker) {
        for (int seen = 0;;) {
            seen = await_change(ticket.number, seen);
            work(context, worker);
            if (pending.fetch_sub(1, std::memory_order_acq_rel) == 1) pending.notify_one();
        }
    }

    void run(int threads, Work what, void* with) {
        const std::lock_guard lock(busy);
        grow(threads);
        work = what;
        context = with;
        pending.store(threads - 1, std::memory_order_relaxed);
        for (int w = 0; w < threads - 1; ++w) {
            auto& number = tickets[static_cast<std::size_t>(w)]->number;
            number.fetch_add(1, std::memory_order_release);
            number.notify_one();
        }
        what(with, 0);
        for (int left = pending.load(std::memory_order_acquire); left != 0;) left = await_change(pending, left);
    }
};

std::atomic<Pool*> current{nullptr};

// The threads of the parent do not exist in a forked child: forget them, whatever state they were in.
void forget_pool() { current.store(nullptr); }

Pool& pool() {
    Pool* found = current.load(std::memory_order_acquire);
    if (found != nullptr) return *found;
    static const int registered = pthread_atfork(nullptr, nullptr, forget_pool);
    static_cast<void>(registered);
    auto fresh = std::make_unique<Pool>();  // never freed: its threads live as long as the process
    if (current.compare_exchange_strong(found, fresh.get())) return *fresh.release();
    return *found;
}

}  // namespace

void reserve_threads(int threads) {
    if (threads <= 1) return;
    Pool& p = pool();
    const std::lock_guard lock(p.busy);
    p.grow(threads);
}

void run_parallel(int threads, Work work, void* context) { pool().run(threads, work, context); }

}  // namespace fffbench
