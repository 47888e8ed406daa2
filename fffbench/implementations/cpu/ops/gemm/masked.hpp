// The dense form of several trees through somebody else's matrix product: which of all logits are on a token's path?
#pragma once

namespace {
using fffbench::MaskJob;

constexpr int MASK_VISITED = 512;  // visited logits that are activated at once

// Tokens [begin, end) of `logits`: in place, activations on each token's path and 0 off it.
template <class T>
void mask_trees(const MaskJob& job, std::int64_t begin, std::int64_t end) {
    const std::int64_t nodes = (std::int64_t{1} << job.levels) - 1, together = MASK_VISITED / job.levels;
    alignas(64) float visited[MASK_VISITED];
    std::int32_t places[MASK_VISITED];
    for (float& value : visited) value = 0;
    for (std::int64_t token = begin; token < end; ++token) {
        T* row = static_cast<T*>(job.logits) + token * job.stride;
        if (job.levels == 1 && !PLANTED) {  // every neuron is visited; bf16, 3072 trees, 2048 tokens: 68 ms became 50
            for (std::int64_t i = 0; i < job.trees; i += Simd::width) {
                const int n = job.trees - i < Simd::width ? static_cast<int>(job.trees - i) : Simd::width;
                Simd::store(row + i, gelu(Simd::load(row + i, n)), n);
            }
            continue;
        }
        for (std::int64_t first = 0; first < job.trees; first += together) {
            const std::int64_t trees = job.trees - first < together ? job.trees - first : together;
            T* z = row + first * nodes;
            int count = 0;
            for (std::int64_t tree = 0; tree < trees; ++tree) {
                std::int64_t node = 0;
                for (int level = 0; level < job.levels; ++level, ++count) {
                    const std::int64_t at = tree * nodes + node;
                    const float logit = to_float(z[at]);
                    visited[count] = logit;
                    places[count] = static_cast<std::int32_t>(at);
                    node = 2 * node + 1 + turns_right(job, logit, level);
                }
            }
            activate(job, visited, visited, round_up(count, fffbench::LOGIT_PAD));
            for (std::int64_t i = 0; i < trees * nodes; ++i) z[i] = T{};
            for (int i = 0; i < count; ++i) {
                const std::int64_t last = i % job.levels == job.levels - 1;
                const std::int64_t moved = planted(job, Fault::wrong_row) && last ? 1 : 0;
                z[(places[i] + moved) % (trees * nodes)] = from_float<T>(visited[i]);
            }
        }
    }
}

}  // namespace
