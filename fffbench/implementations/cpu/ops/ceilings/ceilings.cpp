// How are the machine's peak rates measured? In short windows on all threads at once; the best window counts,
// because a ceiling is what is possible, and a disturbance only ever takes away.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <stdexcept>
#include <vector>

#include "ops/ceilings/job.hpp"
#include "runtime/op.hpp"
#include "runtime/pool.hpp"

#ifdef FFFBENCH_X86
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace fffbench {

FFFBENCH_TABLES(ceilings, CeilingKernels)

namespace {

using Clock = std::chrono::steady_clock;

constexpr int WINDOWS = 5;
constexpr double MAX_SECONDS = 600;
constexpr std::int64_t FMA_ROUNDS = 20000;              // some 0.1 ms between two looks at the clock
constexpr std::size_t BYTES_PER_LOOK = std::size_t{1} << 20;
constexpr std::size_t HUGE_PAGE = std::size_t{2} << 20;  // page walks must not be what limits a bandwidth
constexpr std::size_t LINE = 64;

void check(int threads, double seconds) {
    if (threads < 1 || threads > MAX_THREADS) throw std::invalid_argument("threads must be from 1 to 1024");
    if (!(seconds > 0 && seconds <= MAX_SECONDS)) throw std::invalid_argument("seconds must be above 0, at most 600");
}

// The best over WINDOWS of the summed rates; step(worker) does some work and returns its amount.
template <class F>
double best_rate(int threads, double seconds, F step) {
    reserve_threads(threads);
    std::vector<double> rate(static_cast<std::size_t>(threads));
    double best = 0;
    for (int window = 0; window < WINDOWS; ++window) {
        auto body = [&](int worker) {
            double amount = 0, elapsed = 0;
            const auto start = Clock::now();
            do {
                amount += step(worker);
                elapsed = std::chrono::duration<double>(Clock::now() - start).count();
            } while (elapsed < seconds / WINDOWS);
            rate[static_cast<std::size_t>(worker)] = amount / elapsed;
        };
        run_parallel(threads, true, body);
        double sum = 0;
        for (const double part : rate) sum += part;
        best = std::max(best, sum);
    }
    return best;
}

struct Release {
    void operator()(float* p) const { ::operator delete(p, std::align_val_t{HUGE_PAGE}); }
};
using Buffer = std::unique_ptr<float, Release>;

// One buffer a thread, written by that thread so that its pages lie near it.
std::vector<Buffer> buffers(std::size_t bytes_each, int threads) {
    const std::size_t size = (bytes_each + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    std::vector<Buffer> made;
    for (int w = 0; w < threads; ++w) {
        made.emplace_back(static_cast<float*>(::operator new(size, std::align_val_t{HUGE_PAGE})));
#ifdef MADV_HUGEPAGE
        madvise(made.back().get(), size, MADV_HUGEPAGE);
#endif
    }
    auto fill = [&](int worker) {
        float* p = made[static_cast<std::size_t>(worker)].get();
        std::fill(p, p + size / sizeof(float), 1.0f);
    };
    run_parallel(threads, true, fill);
    return made;
}

std::size_t slice(std::size_t bytes, int threads) {
    const auto lines = bytes / static_cast<std::size_t>(threads) / (8 * LINE);
    if (lines == 0) throw std::invalid_argument("nbytes must be at least 512 for each thread");
    return lines * 8 * LINE;
}

}  // namespace

// Floating-point operations per second.
static double fma_rate(int threads, const std::string& isa, Dtype dtype, double seconds) {
    check(threads, seconds);
    const CeilingKernels& kernels = ceilings_kernels(isa_named(isa), dtype);
    return best_rate(threads, seconds, [&](int) { return kernels.fma_burst(FMA_ROUNDS); });
}

// Bytes per second.
static double read_rate(std::size_t bytes, int threads, double seconds) {
    check(threads, seconds);
    const std::size_t each = slice(bytes, threads);
    const auto from = buffers(each, threads);
    const CeilingKernels& isa = ceilings_kernels(isa_named("auto"), Dtype::fp32);
    return best_rate(threads, seconds, [&](int worker) {
        volatile float sink = 0;
        std::size_t done = 0;
        for (; done < BYTES_PER_LOOK; done += each)
            sink = isa.read(from[static_cast<std::size_t>(worker)].get(), each / sizeof(float));
        static_cast<void>(sink);
        return static_cast<double>(done);
    });
}

// Bytes per second, read and written.
static double copy_rate(std::size_t bytes, int threads, double seconds) {
    check(threads, seconds);
    const std::size_t each = slice(bytes / 2, threads);  // half is read, half is written
    const auto from = buffers(each, threads);
    const auto to = buffers(each, threads);
    const CeilingKernels& isa = ceilings_kernels(isa_named("auto"), Dtype::fp32);
    return best_rate(threads, seconds, [&](int worker) {
        const auto w = static_cast<std::size_t>(worker);
        std::size_t done = 0;
        for (; done < BYTES_PER_LOOK; done += 2 * each) isa.copy(to[w].get(), from[w].get(), each / sizeof(float));
        return static_cast<double>(done);
    });
}

#ifdef MADV_HUGEPAGE
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25  // Linux 6.1, later than many C libraries
#endif
// Back the whole huge pages inside the range by huge pages, now; false where the system does not.
static bool use_huge_pages(std::uintptr_t address, std::size_t bytes) {
    const std::uintptr_t begin = (address + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    const std::uintptr_t end = (address + bytes) / HUGE_PAGE * HUGE_PAGE;
    if (address == 0 || begin >= end) return false;
    void* at = reinterpret_cast<void*>(begin);
    return madvise(at, end - begin, MADV_HUGEPAGE) == 0 && madvise(at, end - begin, MADV_COLLAPSE) == 0;
}
#else
static bool use_huge_pages(std::uintptr_t, std::size_t) { return false; }
#endif

#ifdef FFFBENCH_X86
namespace {
__attribute__((target("clflushopt"))) void flush_unordered(const char* from, const char* end) {
    for (; from < end; from += LINE) _mm_clflushopt(const_cast<char*>(from));
}
void flush_ordered(const char* from, const char* end) {
    for (; from < end; from += LINE) _mm_clflush(from);
}
bool has_clflushopt() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b >> 23 & 1u) != 0;
}
}  // namespace

// Flush the range from all caches; false where there is no such instruction.
static bool evict(std::uintptr_t address, std::size_t bytes) {
    static const bool unordered = has_clflushopt();
    if (address == 0 || bytes == 0) return true;
    const char* from = reinterpret_cast<const char*>(address / LINE * LINE);
    const char* end = reinterpret_cast<const char*>(address + bytes);
    _mm_mfence();
    unordered ? flush_unordered(from, end) : flush_ordered(from, end);
    _mm_mfence();
    return true;
}
#else
static bool evict(std::uintptr_t, std::size_t) { return false; }
#endif

}  // namespace fffbench

FFFBENCH_OP(ceilings) {
    using namespace fffbench;
    m.def("evict", evict, Unlocked(), "ptr"_a, "nbytes"_a,
          "Flush every cache line of the range; False where the processor cannot.");
    m.def("use_huge_pages", use_huge_pages, Unlocked(), "ptr"_a, "nbytes"_a,
          "Back the range by huge pages where the system can, now; contents and address stay. False where it cannot.");
    m.def("fma_rate",
          [](int threads, const std::string& isa, const std::string& dtype, double seconds) {
              return fma_rate(threads, isa, dtype_named(dtype), seconds);
          },
          Unlocked(), "threads"_a, "isa"_a = "auto", "dtype"_a = "fp32", "seconds"_a = 0.5, "flop/s from registers.");
    m.def("read_rate", read_rate, Unlocked(), "nbytes"_a, "threads"_a, "seconds"_a = 0.5, "bytes/s summed up.");
    m.def("copy_rate", copy_rate, Unlocked(), "nbytes"_a, "threads"_a, "seconds"_a = 0.5,
          "bytes/s read and written with streaming stores; nbytes is both together.");
}
