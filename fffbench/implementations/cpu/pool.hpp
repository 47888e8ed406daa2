// Who computes? Persistent worker threads; the caller is worker 0.
#pragma once

namespace fffbench {

using Work = void (*)(void* context, int worker);

// Start workers so that `threads` (the caller included) are there; std::system_error where the system refuses.
void reserve_threads(int threads);

// work(context, w) for every w in [0, threads), each on a thread of its own; returns when all are done. One run at a
// time in a process: a second caller waits. A forked child gets workers of its own.
void run_parallel(int threads, Work work, void* context);

template <class F>
void run_parallel(int threads, F& f) {
    if (threads <= 1)
        f(0);
    else
        run_parallel(threads, [](void* context, int worker) { (*static_cast<F*>(context))(worker); }, &f);
}

}  // namespace fffbench
