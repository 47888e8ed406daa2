// What do all kernels share? The storage type, vector loads and stores, GELU, and the numbering of a tree's rows.
//
// A translation unit is compiled for one dtype and one d: FFF_DTYPE (0 fp32, 1 bf16, 2 fp16) and FFF_D. Row lengths
// are then constants, loops over a row unroll, and rows sit in registers. FFF_ALIGNED is 1 when every row starts on
// a 16-byte boundary; otherwise elements move one by one. No header of the CUDA toolkit is needed, so NVRTC compiles
// this without one.
#pragma once

#ifndef FFF_DTYPE
#define FFF_DTYPE 0
#endif
#ifndef FFF_D
#define FFF_D 768
#endif
#ifndef FFF_ALIGNED
#define FFF_ALIGNED 1
#endif

#if FFF_DTYPE == 0
typedef float scalar;
#else
typedef unsigned short scalar;  // the bits of a bf16 or fp16
#endif

typedef unsigned int u32;
typedef long long i64;

constexpr int kD = FFF_D;
constexpr int kVector = FFF_ALIGNED ? 16 / int(sizeof(scalar)) : 1;  // elements of a 16-byte access
constexpr int kWarp = 32;

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

__device__ __forceinline__ u32 pack2(float low, float high) {
    u32 both;
#if FFF_DTYPE == 2
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
#else
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
#endif
    return both;
}

__device__ __forceinline__ void unpack2(u32 both, float& low, float& high) {
#if FFF_DTYPE == 2
    asm("{.reg .b16 a, b;\n mov.b32 {a, b}, %2;\n cvt.f32.f16 %0, a;\n cvt.f32.f16 %1, b;}"
        : "=f"(low), "=f"(high)
        : "r"(both));
#else
    low = __uint_as_float(both << 16);
    high = __uint_as_float(both & 0xffff0000u);
#endif
}

__device__ __forceinline__ float to_float(scalar value) {
#if FFF_DTYPE == 0
    return value;
#else
    float low, high;
    unpack2(value, low, high);
    return low;
#endif
}

__device__ __forceinline__ scalar to_scalar(float value) {
#if FFF_DTYPE == 0
    return value;
#else
    return scalar(pack2(value, 0.0f) & 0xffffu);
#endif
}

// V elements from global memory in one access where V * sizeof(scalar) is 4, 8 or 16 bytes.
template <int V>
struct Vector {
    static constexpr int kBytes = V * int(sizeof(scalar));
    static constexpr int kWords = kBytes / 4;
    u32 word[kWords > 0 ? kWords : 1];

    __device__ __forceinline__ void load(const scalar* from) {
        if constexpr (kBytes == 16) {
            const uint4 v = __ldg(reinterpret_cast<const uint4*>(from));
            word[0] = v.x, word[1] = v.y, word[2] = v.z, word[3] = v.w;
        } else if constexpr (kBytes == 8) {
            const uint2 v = __ldg(reinterpret_cast<const uint2*>(from));
            word[0] = v.x, word[1] = v.y;
        } else if constexpr (kBytes == 4) {
            word[0] = __ldg(reinterpret_cast<const u32*>(from));
        } else {
            word[0] = u32(__ldg(reinterpret_cast<const unsigned short*>(from)));
        }
    }

    // As load, of what an earlier kernel wrote where this one writes: not through the read-only cache.
    __device__ __forceinline__ void load_again(const scalar* from) {
        if constexpr (kBytes == 16) {
            const uint4 v = *reinterpret_cast<const uint4*>(from);
            word[0] = v.x, word[1] = v.y, word[2] = v.z, word[3] = v.w;
        } else if constexpr (kBytes == 8) {
            const uint2 v = *reinterpret_cast<const uint2*>(from);
            word[0] = v.x, word[1] = v.y;
        } else if constexpr (kBytes == 4) {
            word[0] = *reinterpret_cast<const u32*>(from);
        } else {
            word[0] = u32(*reinterpret_cast<const unsigned short*>(from));
        }
    }

    __device__ __forceinline__ void clear() {
#pragma unroll
        for (int i = 0; i < (kWords > 0 ? kWords : 1); ++i) word[i] = 0;
    }

    __device__ __forceinline__ void widen(float (&out)[V]) const {
#if FFF_DTYPE == 0
#pragma unroll
        for (int i = 0; i < V; ++i) out[i] = __uint_as_float(word[i]);
#else
        if constexpr (V == 1) {
            out[0] = to_float(scalar(word[0]));
        } else {
#pragma unroll
            for (int i = 0; i < V / 2; ++i) unpack2(word[i], out[2 * i], out[2 * i + 1]);
        }
#endif
    }

    __device__ __forceinline__ void narrow(const float (&in)[V]) {
#if FFF_DTYPE == 0
#pragma unroll
        for (int i = 0; i < V; ++i) word[i] = __float_as_uint(in[i]);
#else
        if constexpr (V == 1) {
            word[0] = to_scalar(in[0]);
        } else {
#pragma unroll
            for (int i = 0; i < V / 2; ++i) word[i] = pack2(in[2 * i], in[2 * i + 1]);
        }
#endif
    }

    __device__ __forceinline__ void store(scalar* to) const {
        if constexpr (kBytes == 16) {
            *reinterpret_cast<uint4*>(to) = make_uint4(word[0], word[1], word[2], word[3]);
        } else if constexpr (kBytes == 8) {
            *reinterpret_cast<uint2*>(to) = make_uint2(word[0], word[1]);
        } else if constexpr (kBytes == 4) {
            *reinterpret_cast<u32*>(to) = word[0];
        } else {
            *reinterpret_cast<unsigned short*>(to) = (unsigned short)(word[0]);
        }
    }
};

// FFF_ACTIVATION: 0 GELU by erf, 1 GELU in its tanh form, 2 ReLU, 3 SiLU. The turn is by the logit, whatever is done to it.
#ifndef FFF_ACTIVATION
#define FFF_ACTIVATION 0
#endif

__device__ __forceinline__ float activate(float z) {
#if FFF_ACTIVATION == 0
    return 0.5f * z * (1.0f + erff(z * 0.70710678118654752f));
#elif FFF_ACTIVATION == 1
    return 0.5f * z * (1.0f + tanhf(z * (0.79788456080286536f + 0.035677408136300125f * z * z)));
#elif FFF_ACTIVATION == 2
    return z > 0.0f ? z : z * 0.0f;  // a logit that is NaN or minus infinity is shown, as by the other activations
#else
    return z / (1.0f + expf(-z));
#endif
}

// The same of a logit whose activation is stored in 16 bits; GELU: erf to 2.5e-5 (Abramowitz and Stegun, Handbook of Mathematical
// Functions, 7.1.25) in half of erff's instructions. The tanh form by tanh.approx is off by up to 1e-3, which shows where
// few neurons make up an output.
__device__ __forceinline__ float activation(float z) {
#if FFF_DTYPE == 0 || FFF_ACTIVATION != 0
    return activate(z);
#else
    float t, e;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(t) : "f"(1.0f + 0.33267253f * fabsf(z)));  // 0.47047 / sqrt(2)
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(e) : "f"(-0.72134752f * z * z));           // exp(-z^2 / 2)
    const float q = z * e * t * (0.1740121f + t * (-0.0479399f + t * 0.3739278f));     // z (1 - erf(|z| / sqrt(2))) / 2
    return z > 0.0f ? z - q : q;
#endif
}

// Biases are compiled in: FFF_B1, a number for each row of W1, added to its logit before the turn, and FFF_B2, added to the
// output: a row of d, in the leaf form a row for each leaf. A kernel takes a pointer only to those that it is compiled with.
// What FFF_IF_B1 and FFF_IF_B2 hold is not there without them, so that a layer without biases has the code that it would have
// if there were none.
#if FFF_B1
#define FFF_IF_B1(...) __VA_ARGS__
#else
#define FFF_IF_B1(...)
#endif
#if FFF_B2
#define FFF_IF_B2(...) __VA_ARGS__
#else
#define FFF_IF_B2(...)
#endif

__device__ __forceinline__ float bias_of(const scalar* bias, i64 place) { return to_float(__ldg(bias + place)); }

__device__ __forceinline__ float warp_sum(float value) {
#pragma unroll
    for (int offset = kWarp / 2; offset > 0; offset /= 2) value += __shfl_xor_sync(0xffffffffu, value, offset);
    return value;
}

// The row of local node `local` (breadth first, 0 the root) of the subtree whose root is row `root` of its tree.
__device__ __forceinline__ int subtree_row(int root, int local) {
    const int level = 31 - __clz(local + 1);
    return ((root + 1) << level) - 1 + (local + 1 - (1 << level));
}

// Lists of tokens are taken Tile tokens at a time, a list's last tile what is left: found[0] is the list that tile number
// `tile` lies in, found[1] its first place there, found[2] the length of the list. Nothing is written past the last tile.
// One warp.
template <int Lists, int Tile>
__device__ __forceinline__ void find_in_lists(const int* counts, int tile, int* found) {
    const int lane = threadIdx.x % kWarp;
    int before = 0;
    for (int from = 0; from < Lists; from += kWarp) {
        const int count = from + lane < Lists ? __ldcg(counts + from + lane) : 0, tiles = ceil_div(count, Tile);
        int upto = tiles;
#pragma unroll
        for (int offset = 1; offset < kWarp; offset *= 2) {
            const int other = __shfl_up_sync(0xffffffffu, upto, offset);
            if (lane >= offset) upto += other;
        }
        const int mine = before + upto - tiles;
        if (tile >= mine && tile < mine + tiles) {
            found[0] = from + lane;
            found[1] = (tile - mine) * Tile;
            found[2] = count;
        }
        before += __shfl_sync(0xffffffffu, upto, kWarp - 1);
    }
}
