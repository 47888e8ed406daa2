// Do workers share the items of a phase, and is what they are told of the next one true?
//
// g++ -O2 -std=c++20 -pthread -I fffbench/implementations/cpu tests/cpu/pool_items.cpp \
//     fffbench/implementations/cpu/runtime/pool.cpp -o pool_items && ./pool_items 4 [seconds of patience]
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "runtime/pool.hpp"

namespace {

std::chrono::seconds patience{10};  // a sleeping worker on a busy machine needs milliseconds

// As many items as threads, each of which waits for all others: true if every worker got one.
bool every_worker_gets_one(int threads) {
    std::atomic<int> under_way{0};
    std::atomic<bool> alone{false};
    fffbench::for_each_item_ahead(threads, threads, [&](int, std::int64_t, std::int64_t) {
        ++under_way;
        const auto deadline = std::chrono::steady_clock::now() + patience;
        while (under_way < threads && !alone) {
            if (std::chrono::steady_clock::now() > deadline) alone = true;
            std::this_thread::yield();
        }
    });
    return !alone;
}

struct Told {
    int wrong = 0;      // items announced to a worker that got another one
    int announced = 0;  // items known ahead
    int done = 0;       // items computed exactly once
};

Told items_of(int threads, int count) {
    std::vector<std::atomic<int>> times(static_cast<std::size_t>(count));
    std::vector<std::int64_t> expected(static_cast<std::size_t>(threads), -1);
    std::atomic<int> wrong{0}, announced{0};
    fffbench::for_each_item_ahead(threads, count, [&](int worker, std::int64_t item, std::int64_t next) {
        std::int64_t& mine = expected[static_cast<std::size_t>(worker)];
        if (mine >= 0 && mine != item) ++wrong;
        if (next >= 0) ++announced;
        mine = next;
        ++times[static_cast<std::size_t>(item)];
    });
    Told told{wrong, announced, 0};
    for (const auto& n : times) told.done += n == 1;
    return told;
}

}  // namespace

int main(int argc, char** argv) {
    const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
    if (argc > 2) patience = std::chrono::seconds{std::atoi(argv[2])};
    std::printf("shared %d\n", every_worker_gets_one(threads) ? 1 : 0);
    for (const int count : {0, 1, threads, threads + 1, 50 * threads}) {
        const Told told = items_of(threads, count);
        std::printf("items %d done %d announced %d wrong %d\n", count, told.done, told.announced, told.wrong);
    }
}
