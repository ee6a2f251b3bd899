// `index_topk_decode` for Hopper, in two launches: scores and how they are spread, then the choice.
//
// In the first each of GROUPS groups of four warps goes over pages of its own, which one of its threads has
// the tensor memory accelerator fetch ahead, as many as it has stages: what is read is all that counts here.
// Scores are kept as whole numbers of the same order, and counted in BINS bins: 64 for each power of two from
// 2^-32 to 2^32, of either sign; the outermost hold what is beyond.
//
// In the second a row's blocks are a cluster, whose shared memory each of them reads. Each finds, from the
// counts, the bin in which the last chosen score lies. What lies above is chosen at once; what lies in it is a
// candidate, and all candidates are ranked against each other. If they are too many for that, the row is
// chosen by 11, 11 and 10 bits of its scores, each time over all of them. Counts are cleared for the next
// call.
//
// The second launch may begin while the first ends, and waits for it.
//
// HEADS: 32 or 64. STAGES: pages in shared memory for each group. AT_ONCE: loads of four scores each that a
// thread of the second launch has under way, 16 at most. READ_FIRST: whether the first of them begin before
// the counts are looked at, which takes registers.

constexpr int DIM = 128, PAGE = 64;       // bytes, and keys, of a page
constexpr int GROUPS = 4, GROUP = 128;    // groups of a block of the first launch; threads of one
constexpr int THREADS = GROUPS * GROUP;   // of a block of the first launch
constexpr int BINS = 8192, HALF = BINS / 2, SHIFT = 17;  // bins; bits of a score that they leave out
constexpr int LEAST = (127 - 32) << (23 - SHIFT);  // what the others are of 2^-32
constexpr int BLOCKS = 8;                 // of a row in the second launch
constexpr int CHOOSERS = 512;             // threads of one
constexpr int KEPT = 2048;                // chosen keys that one of them holds
constexpr int RANKED = 1024;              // candidates of a row, if they are to be ranked
constexpr int SMALL = 2048;               // bins of the choice by bits
constexpr int PAGE_BYTES = PAGE * DIM, SCALE_BYTES = PAGE * 4;
constexpr int NOTHING = -2147483647 - 1;  // a key that is never chosen
constexpr unsigned ALL = 0xffffffffu;

struct alignas(64) TensorMap { char opaque[128]; };

int ordered(float x) { const int b = __float_as_int(x); return b ^ ((b >> 31) & 0x7fffffff); }

int bin_of(float x) {
    const int m = min(max(((__float_as_int(x) & 0x7fffffff) >> SHIFT) - LEAST, 0), HALF - 1);
    return __float_as_int(x) < 0 ? HALF - 1 - m : HALF + m;
}

// The lowest score in a bin, or in those after it, as a whole number.
int first_of(int bin) {
    if (bin <= 0) return NOTHING + 1;
    if (bin >= BINS) return 0x7fffffff;
    if (bin < HALF) return -((HALF - bin + LEAST) << SHIFT);
    return bin == HALF ? 0 : (bin - HALF + LEAST) << SHIFT;
}

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
    asm volatile("griddepcontrol.launch_dependents;");
    extern __shared__ unsigned char dynamic[];
    char* pages = reinterpret_cast<char*>(dynamic + (1024 - (address(dynamic) & 1023)) % 1024);
    char* queries = pages + GROUPS * STAGES * PAGE_BYTES;
    Shared* s = reinterpret_cast<Shared*>(queries + HEADS * DIM);
    const int thread = threadIdx.x, lane = thread % 32, warp = thread / 32 % 4, row = blockIdx.y;
    const int group = __shfl_sync(ALL, thread / GROUP, 0);
    for (int i = thread; i < BINS; i += THREADS) s->bins[i] = 0;
    asm volatile("griddepcontrol.wait;" ::: "memory");
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
            out[key] = any ? ordered(x) : NOTHING;
            if (any) atomicAdd(&s->bins[bin_of(x)], 1);
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

struct Found { int bin, above; };  // where the last of `least` lies, and how many lie above its bin

// Finds the bin in which the last of `least` lies; -1 if there are fewer. own: what bins t EACH to
// t EACH + EACH - 1 hold, for thread t.
template <int EACH>
Found find_bin(const int (&own)[EACH], int least, int* parts, Found* found) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int mine = 0;
#pragma unroll
    for (int i = 0; i < EACH; i++) mine += own[i];
    int from = mine;  // sum over the bins from the thread's own on
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_down_sync(ALL, from, d);
        if (lane + d < 32) from += other;
    }
    if (lane == 0) parts[warp] = from;
    __syncthreads();
#pragma unroll
    for (int w = 0; w < CHOOSERS / 32; w++)
        if (w > warp) from += parts[w];
    int above = from - mine;
    if (threadIdx.x == 0 && from < least) *found = {-1, from};
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
    return *found;
}

void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
void cluster_sync() { cluster_arrive(), cluster_wait(); }

// Where another block of the cluster has what lies at `p` in this one.
unsigned there(const void* p, int block) {
    unsigned a;
    asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(a) : "r"(address(p)), "r"(block));
    return a;
}

int read_there(const int* p, int block) {
    int x;
    asm volatile("ld.shared::cluster.s32 %0, [%1];" : "=r"(x) : "r"(there(p, block)) : "memory");
    return x;
}

void write_there(int* p, int block, int x) {
    asm volatile("st.shared::cluster.s32 [%0], %1;" ::"r"(there(p, block)), "r"(x) : "memory");
}

// A block's shared memory in the second launch.
struct Choice {
    int parts[CHOOSERS / 32];
    Found found;
    int mine[2], all[2][BLOCKS];  // chosen keys and candidates: of this block, of each
    union {
        struct { int chosen[KEPT], candidate[RANKED], value[RANKED], values[RANKED]; };  // values: all blocks'
        int bins[SMALL];
    };
};

// How many chosen keys, or candidates, a row has, and how many of them blocks before this one have.
struct Share { int before, total, most; };

Share share_of(const int (&all)[BLOCKS], int block) {
    Share share = {0, 0, 0};
#pragma unroll
    for (int b = 0; b < BLOCKS; b++) {
        const int n = all[b];
        if (b < block) share.before += n;
        share.total += n;
        share.most = max(share.most, n);
    }
    return share;
}

// Tells all blocks what this one counted in `mine`.
void tell(Choice* s, int block) {
    if (threadIdx.x < 2 * BLOCKS) {
        const int kind = threadIdx.x / BLOCKS;
        write_there(&s->all[kind][block], threadIdx.x % BLOCKS, s->mine[kind]);
    }
    cluster_sync();
}

constexpr int STEP = BLOCKS * CHOOSERS * 4;  // keys of a row's blocks, each thread four

// Reads a batch of scores, from the thread's first key on.
void read_scores(int4 (&x)[AT_ONCE], const int* score, int base, int length) {
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++)
        if (base + i * STEP < length) x[i] = *reinterpret_cast<const int4*>(score + base + i * STEP);
}

// Finds the chosen keys of a batch, those with scores from `high` on, and candidates, those from `low` on. One
// warp reserves places for all that its threads found at once.
void find_keys(Choice* s, const int4 (&x)[AT_ONCE], const int* score, int base, int length, int low, int high) {
    const int lane = threadIdx.x % 32;
    unsigned long long over = 0, within = 0;  // a bit for each key
#pragma unroll
    for (int i = 0; i < AT_ONCE; i++) {
        const int v[4] = {x[i].x, x[i].y, x[i].z, x[i].w};
#pragma unroll
        for (int j = 0; j < 4; j++) {
            if (base + i * STEP + j >= length) continue;
            if (v[j] >= high) over |= 1ull << (4 * i + j);
            else if (v[j] >= low) within |= 1ull << (4 * i + j);
        }
    }
    const int found = __popcll(over) | __popcll(within) << 16;
    int sum = found;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(ALL, sum, d);
        if (lane >= d) sum += other;
    }
    const int all = __shfl_sync(ALL, sum, 31);
    int place = 0;
    if (lane < 2 && all) place = atomicAdd(&s->mine[lane], lane ? all >> 16 : all & 0xffff);
    int to = __shfl_sync(ALL, place, 0) + ((sum - found) & 0xffff);
    int at = __shfl_sync(ALL, place, 1) + ((sum - found) >> 16);
    for (; over; over &= over - 1, to++) {
        const int i = __ffsll(over) - 1;
        if (to < KEPT) s->chosen[to] = base + i / 4 * STEP + i % 4;
    }
    for (; within && at < RANKED; within &= within - 1, at++) {
        const int i = __ffsll(within) - 1, key = base + i / 4 * STEP + i % 4;
        s->candidate[at] = key, s->value[at] = score[key];
    }
}

// Calls f with each of this block's keys and its score.
template <class F>
void for_each(const int* score, int length, int block, F f) {
#pragma unroll 1
    for (int key = block * CHOOSERS + threadIdx.x; key < length; key += BLOCKS * CHOOSERS) f(key, score[key]);
}

// Chooses the best of a row by their bits, from the highest to the lowest.
void choose_by_bits(Choice* s, const int* score, int length, int block, int topk, int* out) {
    const int thread = threadIdx.x;
    const auto value = [](int x) { return static_cast<unsigned>(x) ^ 0x80000000u; };  // 0: never chosen
    unsigned prefix = 0, known = 0;  // bits of the last one chosen, and which are known
    int left = length > topk ? topk : 0;  // to be chosen among those that have them
    for (int pass = 0; pass < 3 && left; pass++) {
        const int shift = pass == 0 ? 21 : pass == 1 ? 10 : 0;
        const unsigned mask = pass == 2 ? 1023u : 2047u;
        cluster_sync();  // all have read what was there
        for (int i = thread; i < SMALL; i += CHOOSERS) s->bins[i] = 0;
        __syncthreads();
        for_each(score, length, block, [&](int, int x) {
            const unsigned v = value(x);
            if (v && (v & known) == prefix) atomicAdd(&s->bins[v >> shift & mask], 1);
        });
        cluster_sync();
        constexpr int EACH = SMALL / CHOOSERS;
        int own[EACH] = {};
        for (int b = 0; b < BLOCKS; b++)
#pragma unroll
            for (int i = 0; i < EACH; i++) own[i] += read_there(&s->bins[thread * EACH + i], b);
        const Found here = find_bin(own, left, s->parts, &s->found);
        left = here.bin < 0 ? 0 : left - here.above;
        if (here.bin < 0) break;  // all of them
        prefix |= static_cast<unsigned>(here.bin) << shift;
        known |= mask << shift;
    }
    cluster_sync();
    if (thread < 2) s->mine[thread] = 0;
    __syncthreads();
    for_each(score, length, block, [&](int, int x) {
        const unsigned v = value(x);
        if (v > prefix) atomicAdd(&s->mine[0], 1);
        else if (left && v == prefix) atomicAdd(&s->mine[1], 1);
    });
    __syncthreads();
    tell(s, block);
    const Share over = share_of(s->all[0], block), equal = share_of(s->all[1], block);
    __syncthreads();
    if (thread < 2) s->mine[thread] = 0;
    __syncthreads();
    for_each(score, length, block, [&](int key, int x) {
        const unsigned v = value(x);
        if (v > prefix) out[over.before + atomicAdd(&s->mine[0], 1)] = key;
        else if (left && v == prefix) {
            const int at = equal.before + atomicAdd(&s->mine[1], 1);
            if (at < left) out[over.total + at] = key;
        }
    });
    const int filled = over.total + min(left, equal.total);
    for (int i = filled + block * CHOOSERS + thread; i < topk; i += BLOCKS * CHOOSERS) out[i] = -1;
}

extern "C" __global__ void __cluster_dims__(BLOCKS, 1, 1) __launch_bounds__(CHOOSERS) choose(
    const int* p_score,   // [rows, n_keys]
    const int* p_length,  // [rows]
    int* p_bins,          // [rows, BINS]
    int* p_out,           // [rows, out_stride]
    int n_keys, int topk, int out_stride) {
    __shared__ Choice s;
    const int thread = threadIdx.x, lane = thread % 32, block = blockIdx.x, row = blockIdx.y;
    cluster_arrive();  // nobody may reach into a block that doesn't run yet
    if (thread < 2) s.mine[thread] = 0;
    asm volatile("griddepcontrol.wait;" ::: "memory");
    const int length = min(max(p_length[row], 0), n_keys);
    const int* score = p_score + static_cast<long long>(row) * n_keys;
    int* out = p_out + static_cast<long long>(row) * out_stride;
    int4* counts = reinterpret_cast<int4*>(p_bins + static_cast<long long>(row) * BINS);
    int base = (block * CHOOSERS + thread) * 4;
    int4 x[AT_ONCE];
#if READ_FIRST
    read_scores(x, score, base, length);
#endif
    constexpr int EACH = BINS / CHOOSERS;
    int own[EACH];
#pragma unroll
    for (int i = 0; i < EACH / 4; i++) {
        const int4 c = counts[thread * (EACH / 4) + i];
        own[4 * i] = c.x, own[4 * i + 1] = c.y, own[4 * i + 2] = c.z, own[4 * i + 3] = c.w;
    }
    const int bin = find_bin(own, topk, s.parts, &s.found).bin;
    // Scores from `high` on are chosen, those from `low` on are candidates.
    const int low = first_of(bin), high = bin < 0 ? low : first_of(bin + 1);
    for (int from = block * CHOOSERS * 4; from < length; from += AT_ONCE * STEP, base += AT_ONCE * STEP) {
        if (!READ_FIRST || from != block * CHOOSERS * 4) read_scores(x, score, base, length);
        find_keys(&s, x, score, base, length, low, high);
    }
    __syncthreads();
    cluster_wait();
    tell(&s, block);
    if (thread < BINS / 4 / BLOCKS) counts[block * (BINS / 4 / BLOCKS) + thread] = {0, 0, 0, 0};
    const Share chosen = share_of(s.all[0], block), candidates = share_of(s.all[1], block);
    if (candidates.total > RANKED || chosen.most > KEPT) {
        choose_by_bits(&s, score, length, block, topk, out);
        return;
    }
    // A few warps read the candidates of one block.
    constexpr int READERS = CHOOSERS / BLOCKS;
    const int from = thread / READERS;
    int at = 0;
    for (int b = 0; b < from; b++) at += s.all[1][b];
    for (int i = thread % READERS; i < s.all[1][from]; i += READERS)
        s.values[at + i] = read_there(&s.value[i], from);
    cluster_arrive();  // and before it is over, nobody's memory may be gone
    for (int i = thread; i < s.mine[0]; i += CHOOSERS) out[chosen.before + i] = s.chosen[i];
    __syncthreads();
    // Eight threads rank one candidate; of equal ones the first is better.
    const int left = topk - chosen.total, n = candidates.total;
    for (int first = thread / 32 * 4; first < s.mine[1]; first += CHOOSERS / 8) {
        const int c = min(first + lane / 8, s.mine[1] - 1), place = candidates.before + c, x = s.value[c];
        int rank = 0;
        for (int i = lane % 8; i < n; i += 8) {
            const int y = s.values[i];
            rank += y > x || (y == x && i < place);
        }
#pragma unroll
        for (int d = 1; d < 8; d *= 2) rank += __shfl_xor_sync(ALL, rank, d);
        if (lane % 8 == 0 && first + lane / 8 < s.mine[1] && rank < left)
            out[chosen.total + rank] = s.candidate[c];
    }
    const int filled = min(topk, chosen.total + n);
    for (int i = filled + block * CHOOSERS + thread; i < topk; i += BLOCKS * CHOOSERS) out[i] = -1;
    cluster_wait();
}
