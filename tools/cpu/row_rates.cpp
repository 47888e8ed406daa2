// How fast do this machine's cores read and write rows of 3 KiB when they do nothing else?
//
// g++ -O3 -march=native -std=c++20 -pthread tools/cpu/row_rates.cpp -o row_rates && ./row_rates 1 16
//
// For each thread count: 16384 rows (50 MB) on huge pages, every line flushed before each of 15 calls; minimum and
// median in ms, and GB/s from the median. The floors under `fff_cpu` at batch 16384 in docs/notebook/kernels.md are sums of
// these. `ROWS` in the environment makes it shorter. AVX-512 only.
#include <immintrin.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <random>
#include <thread>
#include <vector>

namespace {

constexpr int D = 768;       // floats in a row
constexpr int VECTOR = 16;   // floats in a vector, which is a line
constexpr int COLUMNS = 96;  // floats that fff_cpu's output writes of one row before the next
constexpr int TOGETHER = 16; // rows that it takes in turn
constexpr int CALLS = 15;
constexpr std::size_t HUGE_PAGE = 2 << 20;

float* huge(std::size_t bytes) {
    auto* block = static_cast<char*>(
        mmap(nullptr, bytes + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (block == MAP_FAILED) std::perror("mmap"), std::exit(1);
    block += (HUGE_PAGE - reinterpret_cast<std::size_t>(block) % HUGE_PAGE) % HUGE_PAGE;
    madvise(block, bytes, MADV_HUGEPAGE);
    std::fill_n(block, bytes, 0);
    return reinterpret_cast<float*>(block);
}

void stream_row(float* to) {
    const __m512 value = _mm512_set1_ps(1.5f);
    for (int j = 0; j < D; j += VECTOR) _mm512_stream_ps(to + j, value);
}

void store_row(float* to) {
    const __m512 value = _mm512_set1_ps(1.5f);
    for (int j = 0; j < D; j += VECTOR) _mm512_store_ps(to + j, value);
}

float sum_row(const float* from) {
    __m512 sum = _mm512_setzero_ps();
    for (int j = 0; j < D; j += VECTOR) sum = _mm512_add_ps(sum, _mm512_load_ps(from + j));
    return _mm512_reduce_add_ps(sum);
}

struct Memory {
    int rows;
    float *x, *y;
    std::vector<int> order;

    explicit Memory(int count) : rows(count), x(huge(bytes())), y(huge(bytes())), order(count) {
        std::iota(order.begin(), order.end(), 0);
    }
    std::size_t bytes() const { return static_cast<std::size_t>(rows) * D * sizeof(float); }
    float* row(float* base, int i) const { return base + static_cast<std::size_t>(i) * D; }
    void flush() const {
        for (float* base : {x, y})
            for (std::size_t i = 0; i < bytes() / sizeof(float); i += VECTOR) _mm_clflushopt(base + i);
        _mm_mfence();
    }
};

// Seconds of f(first row, end) on `threads` threads that share the rows out and begin together.
template <class F>
double seconds(const Memory& memory, int threads, F f) {
    std::atomic<int> ready{0}, done{0};
    std::atomic<bool> go{false};
    const auto part = [&](int t) {
        f(memory.rows / threads * t, memory.rows / threads * (t + 1));
        _mm_sfence();
        ++done;
    };
    std::vector<std::thread> others;
    for (int t = 1; t < threads; ++t)
        others.emplace_back([&, t] {
            ++ready;
            while (!go) _mm_pause();
            part(t);
        });
    while (ready < threads - 1) _mm_pause();
    const auto begin = std::chrono::steady_clock::now();
    go = true;
    part(0);
    while (done < threads) _mm_pause();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    for (auto& other : others) other.join();
    return taken.count();
}

template <class F>
void report(Memory& memory, int threads, const char* name, int times, F f) {
    std::mt19937 random(1);
    std::vector<double> taken;
    for (int call = 0; call < CALLS; ++call) {
        std::shuffle(memory.order.begin(), memory.order.end(), random);
        memory.flush();
        taken.push_back(seconds(memory, threads, f));
    }
    std::sort(taken.begin(), taken.end());
    const double median = taken[CALLS / 2];
    std::printf("%2d threads  %-40s min %.2f  median %.2f ms  %.0f GB/s\n", threads, name, taken[0] * 1e3, median * 1e3,
                times * static_cast<double>(memory.bytes()) / median / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
    const char* asked = std::getenv("ROWS");
    Memory memory(asked == nullptr ? 16384 : std::atoi(asked));
    const auto& order = memory.order;
    const auto x = [&](int i) { return memory.row(memory.x, i); };
    const auto y = [&](int i) { return memory.row(memory.y, i); };
    static std::atomic<float> sink;
    for (int a = 1; a < argc; ++a) {
        const int threads = std::atoi(argv[a]);
        if (threads < 1 || memory.rows % (threads * TOGETHER) != 0) {
            std::fprintf(stderr, "threads '%s' must divide the %d rows into multiples of %d\n", argv[a], memory.rows,
                         TOGETHER);
            return 2;
        }
        report(memory, threads, "write in order, streaming", 1, [&](int i, int end) {
            for (; i < end; ++i) stream_row(y(i));
        });
        report(memory, threads, "write at random, streaming", 1, [&](int i, int end) {
            for (; i < end; ++i) stream_row(y(order[i]));
        });
        report(memory, threads, "write 384 B of 16 rows in turn, streaming", 1, [&](int i, int end) {
            const __m512 value = _mm512_set1_ps(1.5f);
            for (; i < end; i += TOGETHER)
                for (int j = 0; j < D; j += COLUMNS)
                    for (int t = 0; t < TOGETHER; ++t)
                        for (int k = 0; k < COLUMNS; k += VECTOR) _mm512_stream_ps(y(order[i + t]) + j + k, value);
        });
        report(memory, threads, "write at random, through the caches", 1, [&](int i, int end) {
            for (; i < end; ++i) store_row(y(order[i]));
        });
        report(memory, threads, "read in order", 1, [&](int i, int end) {
            float sum = 0;
            for (; i < end; ++i) sum += sum_row(x(i));
            sink = sum;
        });
        report(memory, threads, "read at random", 1, [&](int i, int end) {
            float sum = 0;
            for (; i < end; ++i) sum += sum_row(x(order[i]));
            sink = sum;
        });
        report(memory, threads, "read, then write, at random", 2, [&](int i, int end) {
            float sum = 0;
            for (; i < end; ++i) sum += sum_row(x(order[i])), stream_row(y(order[i]));
            sink = sum;
        });
    }
}
