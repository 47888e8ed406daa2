// Who computes? Persistent worker threads; the caller is worker 0.
#pragma once
#include <atomic>
#include <cstdint>

namespace fffbench {

using Work = void (*)(void* context, int worker);

// Start workers so that `threads` (the caller included) are there; std::system_error where the system refuses.
void reserve_threads(int threads);

// How many forks lie between the first process that loaded this and the one that asks.
unsigned fork_generation();

// work(context, w) for worker 0, the caller, and for up to threads - 1 others, each on a thread of its own; returns
// when all that began are done. Who has not begun when the caller is through is not waited for (its core is busy with
// something else), so `work` takes its share from a common counter; with `all`, everyone takes part. One run at a
// time in a process: a second caller waits. A forked child gets workers of its own.
void run_parallel(int threads, bool all, Work work, void* context);

// f(worker) likewise.
template <class F>
void run_parallel(int threads, bool all, F& f) {
    if (threads <= 1)
        f(0);
    else
        run_parallel(threads, all, [](void* context, int worker) { (*static_cast<F*>(context))(worker); }, &f);
}

// f(item) for every item in [0, count), on up to `threads` threads.
template <class F>
void for_each_item(int threads, std::int64_t count, F f) {
    std::atomic<std::int64_t> handed_out{0};
    auto body = [&](int) {
        for (std::int64_t i; (i = handed_out.fetch_add(1, std::memory_order_relaxed)) < count;) f(i);
    };
    run_parallel(count < threads ? static_cast<int>(count) : threads, false, body);
}

// f(worker, item, next) likewise, where `next` is the item that the worker will get after this one, so that it can
// fetch what that needs meanwhile; -1 where it does not know yet. A worker claims ahead only where an item is left for
// every other: one that took two of the last would keep them waiting (two items on two threads were one thread's).
template <class F>
void for_each_item_ahead(int threads, std::int64_t count, F f) {
    std::atomic<std::int64_t> handed_out{0};
    const auto take = [&] { return handed_out.fetch_add(1, std::memory_order_relaxed); };
    auto body = [&](int worker) {
        for (std::int64_t i = take(), next; i < count; i = next) {
            const bool ahead = i + threads < count;
            if (ahead) next = take();
            f(worker, i, ahead && next < count ? next : -1);
            if (!ahead) next = take();
        }
    };
    run_parallel(count < threads ? static_cast<int>(count) : threads, false, body);
}

}  // namespace fffbench
