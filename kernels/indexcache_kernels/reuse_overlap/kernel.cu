// One block a row: the reused set goes into shared memory, and each fresh position looks itself up. All that
// is read is read at the beginning, so that it is under way while shared memory is cleared.
//
// Positions below RANGE are kept as bits, which takes one step each whatever they are. A row that reuses one
// beyond, of a context longer than that, is kept as a table of hashes.
//
// POSITION: int or long long. VECTOR: values that a thread reads at once, which divide k. GROUPS: how often
// it reads. THREADS: of a block. BITS: of the table's size. SCORES: whether there are any.

#if VECTOR == 4
struct alignas(sizeof(POSITION) * 4) Positions { POSITION x[4]; };
struct alignas(16) Scores { float x[4]; };
#else
struct Positions { POSITION x[1]; };
struct Scores { float x[1]; };
#endif

constexpr int WORDS = 8192, RANGE = 32 * WORDS;  // of the bits
constexpr int SLOTS = 1 << BITS;
constexpr int TABLE = SLOTS * static_cast<int>(sizeof(POSITION));
constexpr int BYTES = TABLE > 4 * WORDS ? TABLE : 4 * WORDS;
constexpr int WARPS = THREADS / 32;
constexpr unsigned ALL = 0xffffffffu;
#define LOWEST __int_as_float(0xff800000)  // -inf

// Where the search for a position begins: neighbours, which are frequent, come to lie far apart.
__device__ int slot_of(POSITION position) {
    const unsigned low = static_cast<unsigned>(position);
    const unsigned high = static_cast<unsigned>(static_cast<unsigned long long>(position) >> 32);
    return ((low ^ high * 0x85ebca6bu) * 0x9e3779b1u) >> (32 - BITS);
}

__device__ POSITION swapped(POSITION* slot, POSITION position) {
    if constexpr (sizeof(POSITION) == 8) {
        const auto nothing = static_cast<unsigned long long>(-1);
        return static_cast<POSITION>(atomicCAS(
            reinterpret_cast<unsigned long long*>(slot), nothing, static_cast<unsigned long long>(position)));
    } else {
        return atomicCAS(reinterpret_cast<int*>(slot), -1, static_cast<int>(position));
    }
}

__device__ void insert(POSITION* table, POSITION position) {
    int slot = slot_of(position);
    while (true) {
        const POSITION there = swapped(table + slot, position);
        if (there == -1 || there == position) return;
        slot = (slot + 1) & (SLOTS - 1);
    }
}

__device__ bool contains(const POSITION* table, POSITION position) {
    int slot = slot_of(position);
    while (true) {
        const POSITION there = table[slot];
        if (there == position) return true;
        if (there == -1) return false;
        slot = (slot + 1) & (SLOTS - 1);
    }
}

// A position's bit is 0 if it is there. Neighbours, which are frequent, have words of their own.
__device__ void clear_bit(unsigned* words, POSITION position) {
    const unsigned at = static_cast<unsigned>(position);
    if (position >= 0) atomicAnd(words + at % WORDS, ~(1u << at / WORDS));
}

__device__ bool is_clear(const unsigned* words, POSITION position) {
    const bool within = position >= 0 && position < RANGE;
    const unsigned at = within ? static_cast<unsigned>(position) : 0;
    return within & !(words[at % WORDS] >> at / WORDS & 1);
}

// What some fresh positions add up to; masses are relative to exp(highest).
struct Sums {
    float highest, mass, covered;
    int fresh, members;
};

__device__ float relative(float score, float highest) {
    return highest == LOWEST ? 0.0f : expf(score - highest);
}

__device__ Sums both(const Sums& a, const Sums& b) {
    const float highest = fmaxf(a.highest, b.highest);
    const float x = relative(a.highest, highest), y = relative(b.highest, highest);
    return {highest, a.mass * x + b.mass * y, a.covered * x + b.covered * y, a.fresh + b.fresh,
            a.members + b.members};
}

__device__ Sums of_other_lane(const Sums& a, int lane) {
    return {__shfl_xor_sync(ALL, a.highest, lane), __shfl_xor_sync(ALL, a.mass, lane),
            __shfl_xor_sync(ALL, a.covered, lane), __shfl_xor_sync(ALL, a.fresh, lane),
            __shfl_xor_sync(ALL, a.members, lane)};
}

extern "C" __global__ void __launch_bounds__(THREADS) reuse_overlap(
    const POSITION* p_reused,  // [rows, k]
    const POSITION* p_fresh,   // [rows, k]
    const float* p_scores,     // [rows, k]; not read without SCORES
    float* p_overlap,          // [rows]
    float* p_recall,           // [rows]; not written without SCORES
    int k) {
    extern __shared__ __align__(16) unsigned char shared[];
    POSITION* table = reinterpret_cast<POSITION*>(shared);
    unsigned* words = reinterpret_cast<unsigned*>(shared);
    __shared__ Sums parts[WARPS];
    const long long row = static_cast<long long>(blockIdx.x) * k;

    Positions reused[GROUPS], fresh[GROUPS];
    Scores scores[GROUPS];
#pragma unroll
    for (int i = 0; i < GROUPS; i++) {
        const int at = (i * THREADS + threadIdx.x) * VECTOR;
#pragma unroll
        for (int j = 0; j < VECTOR; j++) reused[i].x[j] = fresh[i].x[j] = -1;
        if (at < k) {
            reused[i] = *reinterpret_cast<const Positions*>(p_reused + row + at);
            fresh[i] = *reinterpret_cast<const Positions*>(p_fresh + row + at);
            if (SCORES) scores[i] = *reinterpret_cast<const Scores*>(p_scores + row + at);
        }
    }
    int4* clear = reinterpret_cast<int4*>(shared);
    for (int i = threadIdx.x; i < BYTES / 16; i += THREADS)
        clear[i] = make_int4(-1, -1, -1, -1);
    bool far = false;
#pragma unroll
    for (int i = 0; i < GROUPS; i++)
#pragma unroll
        for (int j = 0; j < VECTOR; j++) far |= reused[i].x[j] >= RANGE;
    far = __syncthreads_or(far);
    unsigned members = 0;
    if (far) {
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
#pragma unroll
            for (int j = 0; j < VECTOR; j++)
                if (reused[i].x[j] >= 0) insert(table, reused[i].x[j]);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
#pragma unroll
            for (int j = 0; j < VECTOR; j++)
                if (fresh[i].x[j] >= 0 && contains(table, fresh[i].x[j])) members |= 1u << (i * VECTOR + j);
    } else {
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
#pragma unroll
            for (int j = 0; j < VECTOR; j++)
                clear_bit(words, reused[i].x[j]);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
#pragma unroll
            for (int j = 0; j < VECTOR; j++)
                members |= (is_clear(words, fresh[i].x[j]) ? 1u : 0u) << (i * VECTOR + j);
    }

    Sums sums = {LOWEST, 0.0f, 0.0f, 0, 0};
    if (SCORES)
#pragma unroll
        for (int i = 0; i < GROUPS; i++)
#pragma unroll
            for (int j = 0; j < VECTOR; j++)
                if (fresh[i].x[j] >= 0) sums.highest = fmaxf(sums.highest, scores[i].x[j]);
#pragma unroll
    for (int i = 0; i < GROUPS; i++)
#pragma unroll
        for (int j = 0; j < VECTOR; j++)
            if (fresh[i].x[j] >= 0) {
                const bool member = members >> (i * VECTOR + j) & 1;
                const float mass = SCORES ? relative(scores[i].x[j], sums.highest) : 0.0f;
                sums.mass += mass;
                sums.covered += member ? mass : 0.0f;
                sums.fresh += 1;
                sums.members += member;
            }
#pragma unroll
    for (int lane = 16; lane > 0; lane /= 2) sums = both(sums, of_other_lane(sums, lane));
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = sums;
    __syncthreads();
    if (threadIdx.x == 0) {
        for (int i = 1; i < WARPS; i++) sums = both(sums, parts[i]);
        // Nothing fresh: 0 / 0 is no number.
        p_overlap[blockIdx.x] = static_cast<float>(sums.members) / static_cast<float>(sums.fresh);
        if (SCORES) p_recall[blockIdx.x] = sums.covered / sums.mass;
    }
}
