// Which neurons does each token visit, and with which activations, when tokens are few and trees many? FFF_TEAM warps to a
// token's tree, so that all trees are walked at once: as many trips to memory in a row as a tree has rounds of FFF_AHEAD
// levels, whose rows the team shares out.
//
// visits (batch, trees * levels): row of W2 and activation, which split_sum.cu adds up. For the leaf form, whose nodes only
// route, the entry points are fff_split_leaf, which writes the leaf, and fff_split_list, which lists the tokens by leaf.
#include "common.cuh"

#ifndef FFF_AHEAD
#define FFF_AHEAD 1  // levels read at once
#endif
#ifndef FFF_TEAM
#define FFF_TEAM 1  // warps of a walk
#endif
#ifndef FFF_WALKS
#define FFF_WALKS 4  // of a block
#endif

constexpr int kPieces = ceil_div(kD, kVector * kWarp);  // vectors that a lane holds of a row
constexpr int kRows = (1 << FFF_AHEAD) - 1;             // read at once
constexpr int kEach = ceil_div(kRows, FFF_TEAM);        // by one warp
static_assert(FFF_TEAM == 1 || FFF_WALKS == 1, "a team is a block, for its barrier");

// One walk by its team. Writes its visits if they are wanted, and returns the place in the level below the last.
template <bool Visits>
__device__ __forceinline__ int walk(const scalar* __restrict__ x, const scalar* __restrict__ w1, int2* __restrict__ visits,
                                    i64 walker, int trees, int levels FFF_IF_B1(, const scalar* __restrict__ b1)) {
    __shared__ float logits[2][FFF_WALKS][kEach * FFF_TEAM];
    const int lane = threadIdx.x % kWarp, member = threadIdx.x / kWarp % FFF_TEAM, slot = threadIdx.x / kWarp / FFF_TEAM;
    const i64 token = walker / trees;
    const int first = int(walker % trees) * ((1 << levels) - 1);
    Vector<kVector> in[kPieces];
#pragma unroll
    for (int p = 0; p < kPieces; ++p) {
        const int column = (p * kWarp + lane) * kVector;
        in[p].clear();
        if (column < kD) in[p].load(x + token * kD + column);
    }
    int2* out = visits + walker * levels;
    int node = 0, buffer = 0;
    for (int level = 0; level < levels; level += FFF_AHEAD) {
        const int there = (1 << min(FFF_AHEAD, levels - level)) - 1;  // rows of this round
        float sums[kEach];
        FFF_IF_B1(float bias[kEach];)
#pragma unroll
        for (int e = 0; e < kEach; ++e) {
            const int r = e * FFF_TEAM + member;
            const scalar* row = w1 + i64(first + subtree_row(node, r < there ? r : 0)) * kD;
            FFF_IF_B1(bias[e] = bias_of(b1, first + subtree_row(node, r < there ? r : 0));)
            Vector<kVector> w[kPieces];
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                const int column = (p * kWarp + lane) * kVector;
                w[p].clear();
                if (column < kD && r < there) w[p].load(row + column);
            }
            float parts[4] = {0.0f, 0.0f, 0.0f, 0.0f};
#pragma unroll
            for (int p = 0; p < kPieces; ++p) {
                float u[kVector], v[kVector];
                in[p].widen(u);
                w[p].widen(v);
#pragma unroll
                for (int i = 0; i < kVector; ++i) parts[i % 4] += u[i] * v[i];
            }
            sums[e] = (parts[0] + parts[1]) + (parts[2] + parts[3]);
        }
#pragma unroll
        for (int e = 0; e < kEach; ++e) sums[e] = warp_sum(sums[e]) FFF_IF_B1(+ bias[e]);
        if (FFF_AHEAD > 1 && lane == 0) {
#pragma unroll
            for (int e = 0; e < kEach; ++e) logits[buffer][slot][e * FFF_TEAM + member] = sums[e];
        }
        if (FFF_TEAM > 1) __syncthreads();
        else __syncwarp();
        int local = 0;
#pragma unroll
        for (int l = 0; l < FFF_AHEAD; ++l) {
            if (level + l >= levels) break;
            const float z = FFF_AHEAD > 1 ? logits[buffer][slot][local] : sums[0];
            if (Visits && lane == 0 && member == l % FFF_TEAM)
                out[level + l] = make_int2(first + subtree_row(node, local), __float_as_int(activate(z)));
            local = 2 * local + 1 + (z > 0.0f);
        }
        node = subtree_row(node, local);
        buffer ^= 1;  // a warp that is ahead writes the other one, and not again before the barrier after that
    }
    return node - ((1 << levels) - 1);
}

__device__ __forceinline__ i64 own_walk() { return i64(blockIdx.x) * FFF_WALKS + threadIdx.x / kWarp / FFF_TEAM; }

__device__ __forceinline__ bool first_of_team() { return threadIdx.x % (kWarp * FFF_TEAM) == 0; }

// Walks past the last one leave: with a team that is the whole block.
#define FFF_BEGIN_WALK                                           \
    const i64 walker = own_walk();                               \
    if (walker >= i64(batch) * trees) return;

#if __CUDA_ARCH__ >= 900
#define FFF_LET_NEXT_START asm volatile("griddepcontrol.launch_dependents;")
#else
#define FFF_LET_NEXT_START
#endif

extern "C" __global__ void __launch_bounds__(FFF_TEAM * FFF_WALKS * kWarp)
fff_split_walk(const scalar* __restrict__ x, const scalar* __restrict__ w1, int2* __restrict__ visits, int batch,
               int trees, int levels FFF_IF_B1(, const scalar* __restrict__ b1)) {
    FFF_LET_NEXT_START;
    FFF_BEGIN_WALK
    walk<true>(x, w1, visits, walker, trees, levels FFF_IF_B1(, b1));
}

extern "C" __global__ void __launch_bounds__(FFF_TEAM * FFF_WALKS * kWarp)
fff_split_leaf(const scalar* __restrict__ x, const scalar* __restrict__ w1, int* __restrict__ leaf, int batch, int trees,
               int levels FFF_IF_B1(, const scalar* __restrict__ b1)) {
    FFF_LET_NEXT_START;
    FFF_BEGIN_WALK
    const int found = walk<false>(x, w1, nullptr, walker, trees, levels FFF_IF_B1(, b1));
    if (first_of_team()) leaf[walker] = found;
}

// One tree: where a token's place in its leaf's list varies from run to run.
extern "C" __global__ void __launch_bounds__(FFF_TEAM * FFF_WALKS * kWarp)
fff_split_list(const scalar* __restrict__ x, const scalar* __restrict__ w1, int* __restrict__ lists, int* counts, int batch,
               int levels FFF_IF_B1(, const scalar* __restrict__ b1)) {
    FFF_LET_NEXT_START;
    constexpr int trees = 1;
    FFF_BEGIN_WALK
    const int found = walk<false>(x, w1, nullptr, walker, trees, levels FFF_IF_B1(, b1));
    if (first_of_team()) lists[i64(found) * batch + atomicAdd(counts + found, 1)] = int(walker);
}
