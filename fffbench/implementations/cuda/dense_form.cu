// What are the activations of every neuron on a token's paths, for all tokens and trees at once? H (batch, slots), zero
// where a token does not come by, so that y = H . W2 is a plain product.
//
// logits = x . W1^T on the tensor cores of compute capability 9.0 (wgmma), all neurons of all trees. One warp sends for
// slices, the other warpgroups multiply, 64 tokens each. The walk costs next to nothing, because the rows of W1 are
// packed (dense_form.py) so that a thread holds whole trees of its two tokens in registers: a quad of threads has the
// logits of one token, thread q of it the columns 8 j + 2 q and 8 j + 2 q + 1 of a tile, its slots 2 j and 2 j + 1. A tree
// larger than the slots of a thread lies in 2 or 4 threads of a quad: each holds a subtree in its slots from 1 on, and the
// nodes above them take the slots 0. A tree of one level more takes two tiles, each with its root in the fourth slot 0. Slots come out in another order, 16 bytes of each thread of a quad side by side.
#include "wgmma.cuh"

#ifndef FFF_LEVELS
#define FFF_LEVELS 5
#endif
#ifndef FFF_COLUMNS
#define FFF_COLUMNS 256  // of a tile
#endif
#ifndef FFF_GROUPS
#define FFF_GROUPS 2  // warpgroups that multiply, 64 tokens each
#endif
#ifndef FFF_STAGES
#define FFF_STAGES 4
#endif
#ifndef FFF_NODES
#define FFF_NODES 0  // 1: one tree goes on below these levels; tokens are listed by the node below that they reach
#endif

constexpr int kLevels = FFF_LEVELS;
constexpr int kColumns = FFF_COLUMNS;
constexpr int kGroups = FFF_GROUPS;
constexpr int kStages = FFF_STAGES;
constexpr int kTile = 64 * kGroups;                      // tokens
constexpr int kSlots = kColumns / 4;                     // of a thread, for each of its two tokens
constexpr int kNodes = (1 << kLevels) - 1;               // of a tree
constexpr bool kWhole = kNodes <= kSlots;                // a thread holds whole trees
constexpr int kCellLevels = kSlots == 64 ? 6 : kSlots == 32 ? 5 : 4;  // of a thread's subtree otherwise
constexpr bool kHalves = kLevels == kCellLevels + 3;     // two tiles share a tree
constexpr int kShare = kWhole ? 1 : kHalves ? 4 : 1 << (kLevels - kCellLevels);  // threads of a tile that do: 2 or 4
constexpr int kWalked = kWhole ? kLevels : kCellLevels;
constexpr int kTrees = kWhole ? kSlots / kNodes : 1;     // in a thread
constexpr int kSlice = 64;                               // elements of a row in a stage
constexpr int kSlices = ceil_div(kD, kSlice);
constexpr u32 kTokenBytes = kTile * kSlice * 2, kStageBytes = kTokenBytes + kColumns * kSlice * 2;
static_assert(kShare <= 4, "a tree must fit a quad of threads");

// Logit `slot` of this thread's first (Half 0) or second token.
template <int Half>
__device__ __forceinline__ float& at(float (&sums)[2 * kSlots], int slot) {
    return sums[slot / 2 * 4 + Half * 2 + slot % 2];
}

// Which of a level's values lies where the turns above lead, the first turn first? By halves, all indices constant: a
// register array indexed otherwise would lie in memory.
template <int Count, int Turn>
__device__ __forceinline__ float choose(const float (&values)[Count], const bool (&turn)[kWalked]) {
    if constexpr (Count == 1) {
        return values[0];
    } else {
        float half[Count / 2];
#pragma unroll
        for (int i = 0; i < Count / 2; ++i) half[i] = turn[Turn] ? values[i + Count / 2] : values[i];
        return choose<Count / 2, Turn + 1>(half, turn);
    }
}

// Level Level and those below of the tree whose root is slot `first`: the visited logit of each becomes its activation, all
// others 0. `turn` are the turns above, `index` the place of the visited node in its level; negative: none is visited.
// Returns that place in the level below the last.
template <int Half, int Level>
__device__ __forceinline__ int walk(float (&sums)[2 * kSlots], int first, bool (&turn)[kWalked], int index) {
    if constexpr (Level < kWalked) {
        const int from = first + (1 << Level) - 1;
        float logits[1 << Level];
#pragma unroll
        for (int i = 0; i < 1 << Level; ++i) logits[i] = at<Half>(sums, from + i);
        const float z = choose<1 << Level, 0>(logits, turn), g = activation(z);
        turn[Level] = z > 0.0f;
#pragma unroll
        for (int i = 0; i < 1 << Level; ++i) at<Half>(sums, from + i) = index == i ? g : 0.0f;
        return walk<Half, Level + 1>(sums, first, turn, 2 * index + (turn[Level] ? 1 : 0));
    } else {
        return index;
    }
}

// All trees of a token that this thread holds, or its share of one. Where a tree takes two tiles, `side` is which of them
// this is. Returns where the token leaves the layer's first tree if this thread knows it, else -1.
template <int Half>
__device__ __forceinline__ int walk_all(float (&sums)[2 * kSlots], int side) {
    int left_at = -1;
    if constexpr (kWhole) {
#pragma unroll
        for (int t = 0; t < kTrees; ++t) {
            bool turn[kWalked];
            const int below = walk<Half, 0>(sums, t * kNodes, turn, 0);
            if (threadIdx.x % 4 == 0 && t == 0) left_at = below;
        }
#pragma unroll
        for (int s = kTrees * kNodes; s < kSlots; ++s) at<Half>(sums, s) = 0.0f;
    } else {
        const int lane = threadIdx.x % kWarp, part = lane % kShare, owner = lane - part;
        const float mine = at<Half>(sums, 0);
        const float root = __shfl_sync(0xffffffffu, mine, owner);
        const bool right = root > 0.0f;
        bool here = true;  // whether the token comes by this tile
        int entered = right;
        float shown = part == 0 ? root : 0.0f;
        if constexpr (kShare == 4) {
            const float l = __shfl_sync(0xffffffffu, mine, owner + 1), r = __shfl_sync(0xffffffffu, mine, owner + 2);
            const float second = right ? r : l;
            entered = 2 * entered + (second > 0.0f);
            if (part == 1 + int(right)) shown = second;
        }
        if constexpr (kHalves) {
            const float above = __shfl_sync(0xffffffffu, mine, owner + 3);
            here = (above > 0.0f) == (side == 1);
            if (!here) shown = 0.0f;
            if (part == 3) shown = side == 0 ? above : 0.0f;
        }
        bool turn[kWalked];
        const int below = walk<Half, 0>(sums, 1, turn, here && part == entered ? 0 : -(1 << kWalked));
        if (owner % 4 == 0 && here && part == entered) left_at = (part << kWalked) + below;
        at<Half>(sums, 0) = activation(shown);
    }
    return left_at;
}

template <int Half>
__device__ __forceinline__ void store_row(float (&sums)[2 * kSlots], scalar* row) {
    const int quad = threadIdx.x % 4;
#pragma unroll
    for (int c = 0; c < kSlots / 8; ++c) {
        u32 word[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) word[i] = pack2(at<Half>(sums, 8 * c + 2 * i), at<Half>(sums, 8 * c + 2 * i + 1));
        *reinterpret_cast<uint4*>(row + c * 32 + quad * 8) = make_uint4(word[0], word[1], word[2], word[3]);
    }
}

extern "C" __global__ void __launch_bounds__(128 * (kGroups + 1), 1)
fff_dense_form(const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w1, scalar* __restrict__ hidden,
               int* __restrict__ lists, int* counts, int batch, int token_tiles, int column_tiles
               FFF_IF_B1(, const scalar* __restrict__ b1)) {
    extern __shared__ unsigned char shared[];
    __shared__ u64 full[kStages], empty[kStages];
    const u32 stages = (shared_at(shared) + 1023) & ~1023u;
    const int tiles = token_tiles * column_tiles;
    if (threadIdx.x == 0) {
        for (int s = 0; s < kStages; ++s) {
            barrier_init(&full[s], 1);
            barrier_init(&empty[s], 4 * kGroups);
        }
        barriers_visible();
    }
    __syncthreads();
    const int group = threadIdx.x / 128;
    if (group == 0) {
        if (kGroups == 2) asm volatile("setmaxnreg.dec.sync.aligned.u32 40;");
        if (threadIdx.x == 0) {
            u32 step = 0;
            for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
                const int token = tile / column_tiles * kTile, column = tile % column_tiles * kColumns;
                for (int s = 0; s < kSlices; ++s, ++step) {
                    const u32 stage = step % kStages, to = stages + stage * kStageBytes;
                    if (step >= kStages) barrier_wait(&empty[stage], (step / kStages + 1) & 1);
                    barrier_expect(&full[stage], kStageBytes);
                    copy_box(to, &x, s * kSlice, token, &full[stage]);
                    copy_box(to + kTokenBytes, &w1, s * kSlice, column, &full[stage]);
                }
            }
        }
    } else {
        if (kGroups == 2) asm volatile("setmaxnreg.inc.sync.aligned.u32 232;");
        const int lane = threadIdx.x % kWarp, mine = group - 1;
        u32 step = 0;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            float sums[2 * kSlots];
            FFF_IF_B1(start_sums(sums, [&](int column) { return bias_of(b1, tile % column_tiles * kColumns + column); });)
#pragma unroll 1
            for (int s = 0; s < kSlices; ++s, ++step) {
                const u32 stage = step % kStages, from = stages + stage * kStageBytes;
                barrier_wait(&full[stage], step / kStages & 1);
                pin(sums);
                wgmma_fence();
                const u64 a = slice_descriptor(from + mine * 64 * kSlice * 2), b = slice_descriptor(from + kTokenBytes);
#pragma unroll
                for (int k = 0; k < kSlice / 16; ++k) Wgmma<kColumns>::multiply(sums, a + 2 * k, b + 2 * k, FFF_IF_B1(true ||) s > 0 || k > 0);
                wgmma_commit();
                pin(sums);
                if (s > 0) {
                    wgmma_wait<1>();
                    if (lane == 0) barrier_arrive(&empty[(step - 1) % kStages]);
                }
            }
            wgmma_wait<0>();
            pin(sums);
            if (lane == 0) barrier_arrive(&empty[(step - 1) % kStages]);
            const int row = tile / column_tiles * kTile + mine * 64 + threadIdx.x % 128 / kWarp * 16 + lane / 4;
            const i64 width = i64(column_tiles) * kColumns;
            scalar* to = hidden + row * width + tile % column_tiles * kColumns;
            auto list = [&](int node, int token) {
                if (FFF_NODES && node >= 0 && token < batch)
                    lists[i64(node) * batch + atomicAdd(counts + node, 1)] = token;
            };
            list(walk_all<0>(sums, tile % column_tiles % 2), row);
            if (row < batch) store_row<0>(sums, to);
            pin(sums);  // one token after the other, or their temporaries do not fit the registers
            list(walk_all<1>(sums, tile % column_tiles % 2), row + 8);
            if (row + 8 < batch) store_row<1>(sums, to + 8 * width);
        }
    }
}
