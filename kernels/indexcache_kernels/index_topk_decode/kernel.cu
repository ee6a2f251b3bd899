// `index_topk_decode` for Hopper, in two launches: scores and how they are spread, then the choice.
//
// In the first each of GROUPS groups of four warps goes over pages of its own, which one of its threads has
// the tensor memory accelerator fetch ahead, as many as it has stages: what is read is all that counts here.
// Scores are kept as whole numbers of the same order, and those above zero are counted in BINS bins by their
// first bits.
//
// In the second each block finds, from the counts, the bin in which the last chosen score lies. What lies
// above is chosen at once; what lies in it is a candidate. The block of a row that ends last chooses among
// candidates, exactly, by their other bits, and clears the counts for the next call.
//
// HEADS: 32 or 64. STAGES: pages in shared memory for each group.

constexpr int DIM = 128, PAGE = 64;       // bytes, and keys, of a page
constexpr int GROUPS = 4, GROUP = 128;    // groups of a block of the first launch; threads of one
constexpr int THREADS = GROUPS * GROUP;   // of a block, in both
constexpr int BINS = 8192, SHIFT = 18;    // bins, and the bits of a score that they leave out
constexpr int SMALL = 2048;               // bins of the choice among candidates
constexpr int KEPT = 2048;                // candidates that shared memory holds beside them
constexpr int PER = 4;                    // keys of a thread at once
constexpr int PAGE_BYTES = PAGE * DIM, SCALE_BYTES = PAGE * 4;
constexpr int NOTHING = -2147483647 - 1;  // a key that is never chosen
constexpr unsigned ALL = 0xffffffffu;

struct alignas(64) TensorMap { char opaque[128]; };

// What a row's blocks of the second launch share; all zero between calls.
struct Row { int chosen, candidates, done, unused; };

int ordered(float x) { const int b = __float_as_int(x); return b ^ ((b >> 31) & 0x7fffffff); }

unsigned address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

void barrier_init(unsigned long long* b, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address(b)), "r"(arrivals) : "memory");
}

void barrier_expect(unsigned long long* b, int bytes) {
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address(b)), "r"(bytes) : "memory");
}

void barrier_wait(unsigned long long* b, int parity) {
    asm volatile(
        "{\n.reg .pred done;\nagain:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra over;\nbra again;\nover:\n}" ::"r"(address(b)), "r"(parity) : "memory");
}

void fetch_queries(void* to, const TensorMap* from, int row, unsigned long long* b) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3}], [%4];"
        ::"r"(address(to)), "l"(from), "r"(0), "r"(row), "r"(address(b)) : "memory");
}

void fetch_page(void* to, const TensorMap* from, int page, unsigned long long* b) {
    asm volatile(
        "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3, %4}], [%5];"
        ::"r"(address(to)), "l"(from), "r"(0), "r"(0), "r"(page), "r"(address(b)) : "memory");
}

void fetch_bytes(void* to, const void* from, int bytes, unsigned long long* b) {
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];"
        ::"r"(address(to)), "l"(from), "r"(bytes), "r"(address(b)) : "memory");
}

void group_sync(int group) { asm volatile("bar.sync %0, 128;" ::"r"(group + 1) : "memory"); }

// Lower half of the descriptor of a tile in shared memory: rows of 128 bytes, swizzled.
unsigned tile_of(const void* p) { return (address(p) >> 4 & 0x3fff) | 1u << 16; }

#define LIST8(m, i) m(i), m(i + 1), m(i + 2), m(i + 3), m(i + 4), m(i + 5), m(i + 6), m(i + 7)
#define OUT1(i) "=f"(d[i])
#define NEXT "add.u32 la, la, 2;\nadd.u32 lb, lb, 2;\n"
#if HEADS == 32
#define SHAPE "n32"
#define OUTS "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15"
#define IN_A "%16"
#define IN_B "%17"
#define OUT LIST8(OUT1, 0), LIST8(OUT1, 8)
#else
#define SHAPE "n64"
#define OUTS                                                                                                \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define IN_A "%32"
#define IN_B "%33"
#define OUT LIST8(OUT1, 0), LIST8(OUT1, 8), LIST8(OUT1, 16), LIST8(OUT1, 24)
#endif
#define PRODUCT(add)                                                                                        \
    "mov.b64 a, {la, 0x40000040};\nmov.b64 b, {lb, 0x40000040};\n"                                          \
    "wgmma.mma_async.sync.aligned.m64" SHAPE "k32.f32.e4m3.e4m3 {" OUTS "}, a, b, " add ", 1, 1;\n"

// 64 keys by HEADS, float32. Thread by thread: of keys lane / 4 and lane / 4 + 8 of its warp's 16, heads
// 8 i + 2 (lane % 4) and the next.
void multiply(float (&d)[HEADS / 2], unsigned a, unsigned b) {
    asm volatile(
        "{\n.reg .b64 a, b;\n.reg .b32 la, lb;\nmov.b32 la, " IN_A ";\nmov.b32 lb, " IN_B ";\n"
        "wgmma.fence.sync.aligned;\n"
        PRODUCT("0") NEXT PRODUCT("1") NEXT PRODUCT("1") NEXT PRODUCT("1")
        "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n}"
        : OUT : "r"(a), "r"(b) : "memory");
}

struct Shared {
    unsigned long long full[GROUPS][STAGES], queries;
    alignas(16) float scale[GROUPS][STAGES][PAGE];
    int bins[BINS];
};

extern "C" __global__ void __launch_bounds__(THREADS, 1) scores(
    const __grid_constant__ TensorMap m_q,   // [rows HEADS, DIM] fp8, boxes of HEADS rows
    const __grid_constant__ TensorMap m_k,   // [pages, PAGE, DIM] fp8, boxes of a page
    const unsigned char* p_cache,            // the same, scales after the keys of a page
    const float* p_weight,                   // [rows, HEADS]
    const int* p_length,                     // [rows]: keys
    const int* p_table,                      // [rows, ...]: pages
    int* p_score,                            // [rows, n_keys]
    int* p_bins,                             // [rows, BINS]
    int n_table, int n_keys, int page_stride, int each) {  // each: rows of queries to one of tables
    extern __shared__ unsigned char dynamic[];
    char* pages = reinterpret_cast<char*>(dynamic + (1024 - (address(dynamic) & 1023)) % 1024);
    char* queries = pages + GROUPS * STAGES * PAGE_BYTES;
    Shared* s = reinterpret_cast<Shared*>(queries + HEADS * DIM);
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32 % 4, row = blockIdx.y;
    const int group = __shfl_sync(ALL, thread / GROUP, 0);
    const int length = min(p_length[row], n_keys), n_pages = (max(length, 0) + PAGE - 1) / PAGE;
    const int* table = p_table + static_cast<long long>(row / each) * n_table;
    if (thread == 0) {
        for (int g = 0; g < GROUPS; g++)
            for (int i = 0; i < STAGES; i++) barrier_init(&s->full[g][i], 1);
        barrier_init(&s->queries, 1);
        asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async;" ::: "memory");
        barrier_expect(&s->queries, HEADS * DIM);
        fetch_queries(queries, &m_q, row * HEADS, &s->queries);
    }
    for (int i = thread; i < BINS; i += THREADS) s->bins[i] = 0;
    __syncthreads();
    const int first = blockIdx.x * GROUPS + group, step = gridDim.x * GROUPS;
    char* ring = pages + group * STAGES * PAGE_BYTES;
    const auto fetch = [&](int n, int page) {
        const int at = n % STAGES;
        barrier_expect(&s->full[group][at], PAGE_BYTES + SCALE_BYTES);
        fetch_page(ring + at * PAGE_BYTES, &m_k, page, &s->full[group][at]);
        const unsigned char* scales = p_cache + static_cast<long long>(page) * page_stride + PAGE_BYTES;
        fetch_bytes(s->scale[group][at], scales, SCALE_BYTES, &s->full[group][at]);
    };
    // The group's first warp holds the next 32 entries of the table, one a lane.
    int held = 0, from = 0;
    const int mine = n_pages > first ? (n_pages - first + step - 1) / step : 0;
    const auto page_of = [&](int n) {
        if (n - from >= 32 || n == 0) {
            from = n;
            const int at = first + (n + lane) * step;
            held = at < n_pages ? table[at] : 0;
        }
        return __shfl_sync(ALL, held, n - from);
    };
    if (warp == 0)
        for (int n = 0; n < min(STAGES, mine); n++) {
            const int page = page_of(n);
            if (lane == 0) fetch(n, page);
        }
    float weight[HEADS / 4];
    const float* weights = p_weight + static_cast<long long>(row) * HEADS + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < HEADS / 4; i++) weight[i] = weights[i / 2 * 8 + i % 2];
    barrier_wait(&s->queries, 0);
    const unsigned b = tile_of(queries);
    int* out = p_score + static_cast<long long>(row) * n_keys;
    for (int n = 0; n < mine; n++) {
        const int at = n % STAGES;
        barrier_wait(&s->full[group][at], n / STAGES & 1);
        float d[HEADS / 2];
        multiply(d, tile_of(ring + at * PAGE_BYTES), b);
        float v[2] = {0.0f, 0.0f};
#pragma unroll
        for (int i = 0; i < HEADS / 8; i++) {
            v[0] = fmaf(fmaxf(d[4 * i], 0.0f), weight[2 * i], v[0]);
            v[1] = fmaf(fmaxf(d[4 * i + 2], 0.0f), weight[2 * i], v[1]);
            v[0] = fmaf(fmaxf(d[4 * i + 1], 0.0f), weight[2 * i + 1], v[0]);
            v[1] = fmaf(fmaxf(d[4 * i + 3], 0.0f), weight[2 * i + 1], v[1]);
        }
        // Four threads have parts of the same two sums: the first of each two ends up with one of them, the
        // second with the other.
        const float given = lane & 1 ? v[0] : v[1];
        float x = (lane & 1 ? v[1] : v[0]) + __shfl_xor_sync(ALL, given, 1);
        x += __shfl_xor_sync(ALL, x, 2);
        const int in_page = warp * 16 + lane / 4 + (lane & 1) * 8;
        x *= s->scale[group][at][in_page];
        const int key = (first + n * step) * PAGE + in_page;
        if (!(lane & 2) && key < length) {
            const bool any = x > -__int_as_float(0x7f800000);  // no -inf, no NaN
            const int score = any ? ordered(x) : NOTHING;
            out[key] = score;
            if (score > 0) atomicAdd(&s->bins[score >> SHIFT], 1);
        }
        group_sync(group);  // all are done with the stage
        if (warp == 0 && n + STAGES < mine) {
            const int page = page_of(n + STAGES);
            if (lane == 0) fetch(n + STAGES, page);
        }
    }
    __syncthreads();
    int* bins = p_bins + static_cast<long long>(row) * BINS;
    for (int i = thread; i < BINS; i += THREADS)
        if (s->bins[i]) atomicAdd(&bins[i], s->bins[i]);
}

// Sums over the bins from a thread's own on: thread t has bins t EACH to t EACH + EACH - 1.
int sum_from(int mine, int* parts) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int sum = mine;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_down_sync(ALL, sum, d);
        if (lane + d < 32) sum += other;
    }
    if (lane == 0) parts[warp] = sum;
    __syncthreads();
    for (int w = warp + 1; w < THREADS / 32; w++) sum += parts[w];
    __syncthreads();
    return sum;
}

// Where a bin lies in shared memory: threads that read 16 neighbours each don't meet in a bank.
constexpr int padded(int bin) { return bin + bin / 32; }

struct Found { int bin, above; };  // where the last of `least` lies, and how many lie above its bin

// Finds the bin in which the last of `least` lies; -1 if there are fewer. N: bins, in shared memory.
template <int N>
Found find_bin(const int* bins, int least, int* parts, Found* found) {
    constexpr int EACH = N / THREADS;
    int mine = 0, own[EACH];
#pragma unroll
    for (int i = 0; i < EACH; i++) mine += own[i] = bins[padded(threadIdx.x * EACH + i)];
    const int from = sum_from(mine, parts);
    if (threadIdx.x == 0) *found = {-1, from};
    __syncthreads();
    int above = from - mine;
    if (from >= least && above < least) {
        bool open = true;
#pragma unroll
        for (int i = EACH - 1; i >= 0; i--) {
            if (open && above + own[i] >= least) {
                *found = {static_cast<int>(threadIdx.x) * EACH + i, above};
                open = false;
            }
            above += own[i];
        }
    }
    __syncthreads();
    const Found answer = *found;
    __syncthreads();
    return answer;
}

// Sums over the threads before a thread's own, of two numbers of 16 bits at once; `total` of all.
int sum_before(int mine, int* parts, int& total) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int sum = mine;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(ALL, sum, d);
        if (lane >= d) sum += other;
    }
    if (lane == 31) parts[warp] = sum;
    __syncthreads();
    total = 0;
    for (int w = 0; w < THREADS / 32; w++) {
        if (w < warp) sum += parts[w];
        total += parts[w];
    }
    __syncthreads();
    return sum - mine;
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) choose(
    const int* p_score,   // [rows, n_keys]
    const int* p_length,  // [rows]
    int* p_bins,          // [rows, BINS]
    Row* p_rows,          // [rows]
    int* p_candidates,    // [rows, n_keys]
    int* p_out,           // [rows, out_stride]
    int n_keys, int topk, int out_stride) {
    __shared__ int bins[padded(BINS)], parts[THREADS / 32], places[2], is_last;
    __shared__ Found found;
    const int thread = threadIdx.x, row = blockIdx.y, length = min(max(p_length[row], 0), n_keys);
    const int* score = p_score + static_cast<long long>(row) * n_keys;
    int* candidates = p_candidates + static_cast<long long>(row) * n_keys;
    int* out = p_out + static_cast<long long>(row) * out_stride;
    int* counts = p_bins + static_cast<long long>(row) * BINS;
    Row* shared = p_rows + row;
    for (int i = thread; i < BINS; i += THREADS) bins[padded(i)] = counts[i];
    __syncthreads();
    const Found last = find_bin<BINS>(bins, topk, parts, &found);
    const int slice = (length + gridDim.x - 1) / gridDim.x, begin = blockIdx.x * slice;
    const int end = min(begin + slice, length);
    for (int base = begin; base < end; base += THREADS * PER) {
        int kind[PER], mine = 0;  // 1: chosen; 1 << 16: a candidate
#pragma unroll
        for (int i = 0; i < PER; i++) {
            const int key = base + i * THREADS + thread, x = key < end ? score[key] : NOTHING;
            const int bin = x > 0 ? x >> SHIFT : -1;
            kind[i] = x == NOTHING || bin < last.bin ? 0 : bin > last.bin ? 1 : 1 << 16;
            mine += kind[i];
        }
        int total;
        const int before = sum_before(mine, parts, total);
        if (thread == 0) {
            places[0] = total & 0xffff ? atomicAdd(&shared->chosen, total & 0xffff) : 0;
            places[1] = total >> 16 ? atomicAdd(&shared->candidates, total >> 16) : 0;
        }
        __syncthreads();
        int to = places[0] + (before & 0xffff), at = places[1] + (before >> 16);
#pragma unroll
        for (int i = 0; i < PER; i++) {
            const int key = base + i * THREADS + thread;
            if (kind[i] == 1) out[to++] = key;
            else if (kind[i]) candidates[at++] = key;
        }
        __syncthreads();
    }
    __threadfence();
    __syncthreads();
    if (thread == 0) is_last = atomicAdd(&shared->done, 1) == static_cast<int>(gridDim.x) - 1;
    __syncthreads();
    if (!is_last) return;
    __threadfence();
    const int n = *const_cast<volatile int*>(&shared->candidates);
    int taken = last.above, left = topk - taken;  // of the row; of the candidates to be chosen
    // Candidates and their scores, as numbers without a sign: in shared memory unless they are too many.
    int* const key_at = bins + padded(SMALL);
    int* const value_at = key_at + KEPT;
    const bool kept = n <= KEPT;
    const auto key_of = [&](int i) { return kept ? key_at[i] : __ldcg(&candidates[i]); };
    const auto value_of = [&](int i) {
        const int x = kept ? value_at[i] : score[key_of(i)];
        return static_cast<unsigned>(x) ^ 0x80000000u;
    };
    if (kept)
        for (int i = thread; i < n; i += THREADS) {
            key_at[i] = __ldcg(&candidates[i]);
            value_at[i] = score[key_at[i]];
        }
    // First their 11 highest bits, then the next, then the last 10: what is above the bin is chosen, what is
    // in it looked at again.
    unsigned prefix = 0, known = 0;  // bits that are settled, and which
    if (n > left) {
        for (int pass = 0; pass < 3; pass++) {
            const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
            const unsigned mask = pass == 2 ? 1023u : 2047u;
            for (int i = thread; i < SMALL; i += THREADS) bins[padded(i)] = 0;
            __syncthreads();
            for (int i = thread; i < n; i += THREADS) {
                const unsigned x = value_of(i);
                if ((x & known) == prefix) atomicAdd(&bins[padded(x >> shift & mask)], 1);
            }
            __syncthreads();
            const Found here = find_bin<SMALL>(bins, left, parts, &found);
            prefix |= static_cast<unsigned>(here.bin) << shift;
            known |= mask << shift;
            left -= here.above;
        }
    }
    // Scores over `prefix` are chosen, and of those that equal it as many as are left.
    if (thread == 0) places[0] = taken, places[1] = 0;
    __syncthreads();
    const bool all = n <= topk - taken;
    for (int i = thread; i < n; i += THREADS) {
        const unsigned x = value_of(i);
        if (all || x > prefix || (x == prefix && atomicAdd(&places[1], 1) < left))
            out[atomicAdd(&places[0], 1)] = key_of(i);
    }
    for (int i = min(topk, taken + n) + thread; i < topk; i += THREADS) out[i] = -1;
    for (int i = thread; i < BINS; i += THREADS) counts[i] = 0;
    if (thread == 0) *shared = {0, 0, 0, 0};
}
