// How are worker threads kept, woken and waited for?
#include "runtime/pool.hpp"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace fffbench {
namespace {

// How long an idle worker watches for work before it sleeps: longer than it waits for the slowest of 16 at the end of a
// phase (50 us was not enough and cost 0.1 to 0.25 ms of 2 ms a call), and still less than OpenMP's workers watch.
// Waking a sleeper costs 5 to 50 us.
constexpr std::chrono::microseconds SPIN{1000};
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

enum State : int { IDLE, OFFERED, RUNNING };

struct alignas(64) Ticket {
    std::atomic<int> state{IDLE};
};

struct Pool {
    std::mutex busy;
    std::vector<std::unique_ptr<Ticket>> tickets;  // of workers 1, 2, ...
    Work work = nullptr;
    void* context = nullptr;

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
        for (;;) {
            await_change(ticket.state, IDLE);
            int offered = OFFERED;
            if (!ticket.state.compare_exchange_strong(offered, RUNNING, std::memory_order_acq_rel)) continue;
            work(context, worker);
            ticket.state.store(IDLE, std::memory_order_release);
            ticket.state.notify_one();
        }
    }

    void run(int threads, bool all, Work what, void* with) {
        const std::lock_guard lock(busy);
        grow(threads);
        work = what;
        context = with;
        const auto others = static_cast<std::size_t>(threads - 1);
        for (std::size_t w = 0; w < others; ++w) {
            tickets[w]->state.store(OFFERED, std::memory_order_release);
            tickets[w]->state.notify_one();
        }
        what(with, 0);
        for (std::size_t w = 0; w < others; ++w) {
            auto& state = tickets[w]->state;
            int seen = OFFERED;
            if (!all && state.compare_exchange_strong(seen, IDLE, std::memory_order_acq_rel)) continue;
            for (seen = state.load(std::memory_order_acquire); seen != IDLE;) seen = await_change(state, seen);
        }
    }
};

std::atomic<Pool*> current{nullptr};

std::atomic<unsigned> generation{0};

// The threads of the parent do not exist in a forked child: forget them, whatever state they were in, and open the
// locks that they held.
void forget_parent() {
    generation.fetch_add(1);
    current.store(nullptr);
}

// when the library is loaded, so that no lock is older
[[maybe_unused]] const int registered = pthread_atfork(nullptr, nullptr, forget_parent);

Pool& pool() {
    Pool* found = current.load(std::memory_order_acquire);
    if (found != nullptr) return *found;
    auto fresh = std::make_unique<Pool>();  // never freed: its threads live as long as the process
    if (current.compare_exchange_strong(found, fresh.get())) return *fresh.release();
    return *found;
}

}  // namespace

unsigned fork_generation() { return generation.load(std::memory_order_relaxed); }

void reserve_threads(int threads) {
    if (threads <= 1) return;
    Pool& p = pool();
    const std::lock_guard lock(p.busy);
    p.grow(threads);
}

void run_parallel(int threads, bool all, Work work, void* context) { pool().run(threads, all, work, context); }

}  // namespace fffbench
