// How does a token go down a tree, with nothing fetched ahead and nothing shared?
#include "runtime/kernel.hpp"

#include "ops/toy/job.hpp"

namespace {

// work(i, count) for each vector of a row; the last may have fewer elements
template <class F>
void for_vectors(std::int64_t d, F work) {
    for (std::int64_t i = 0; i < d; i += Simd::width)
        work(i, d - i < Simd::width ? static_cast<int>(d - i) : Simd::width);
}

template <class T>
void tokens(const fffbench::ToyJob& job, std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) {
        const T* x = static_cast<const T*>(job.x) + token * job.d;
        T* y = static_cast<T*>(job.y) + token * job.d;
        std::int64_t node = 0;
        for (int level = 0; level < job.levels; ++level) {
            const T* row = static_cast<const T*>(job.w1) + node * job.d;
            const T* out = static_cast<const T*>(job.w2) + node * job.d;
            auto sum = Simd::zero();
            for_vectors(job.d, [&](std::int64_t i, int n) {
                sum = Simd::fma(Simd::load(x + i, n), Simd::load(row + i, n), sum);
            });
            const float logit = Simd::sum(sum);
            const auto activation = gelu(Simd::set1(logit));
            for_vectors(job.d, [&](std::int64_t i, int n) {
                const auto before = level == 0 ? Simd::zero() : Simd::load(y + i, n);
                Simd::store(y + i, Simd::fma(activation, Simd::load(out + i, n), before), n);
            });
            node = 2 * node + 1 + (logit > 0 ? 1 : 0);
        }
    }
}

}  // namespace

FFFBENCH_KERNELS(toy, ToyKernels, tokens<T>)
