// `index_topk` for Hopper. A block of threads takes ROWS rows and goes over their keys, KEYS at a time, which
// one thread has the tensor memory accelerator fetch ahead. Four groups of four warps multiply: groups 0 and
// 1 the first half of the rows with one half each of the keys, groups 2 and 3 the second half. A group has no
// registers for two products at once, so it is the groups that overlap: one multiplies while another adds up.
//
// A group keeps a list of candidates of each of its rows, and a bound: what doesn't score more isn't needed.
// The first pass goes over every STRIDE-th key only and ends with a guess of a bound that a little more than
// topk keys reach. The second goes over all keys. Where fewer than topk reached the guess, or more than a
// list holds, a third goes over all keys once more, without it: there, as in the first, a list that could
// overflow is cut down to the best that may be needed. So what is chosen is exact whatever the guess was.
//
// HEADS: 32 or 64. STRIDE: at least 2. STAGES: of KEYS keys in shared memory. AHEAD: how many of them are
// fetched ahead; the others are how far groups may drift apart.

constexpr int DIM = 128;                    // bytes of a key, and of a head of a query
constexpr int COLUMNS = 128;                // rows times heads of a group
constexpr int HALF = COLUMNS / HEADS;       // rows of a group
constexpr int ROWS = 2 * HALF;              // of a block
constexpr int KEYS = 128;                   // of a stage
constexpr int TILE = 64;                    // keys of a group's matrix product
constexpr int GROUPS = 4, GROUP = 128;      // groups; threads of one
constexpr int THREADS = GROUPS * GROUP;
constexpr int CAPACITY = 4096;              // of a list
constexpr int LOOK = 16;                    // tiles between looks at how long the lists are
constexpr int SLACK = LOOK * TILE;          // what can come in between
constexpr int SHORT = 1024;                 // length from which a list of the first pass is cut
constexpr int EACH = CAPACITY / GROUP;      // places of a list for each thread
constexpr int STAGE_BYTES = KEYS * DIM, QUERY_BYTES = ROWS * HEADS * DIM;
constexpr int NOTHING = -2147483647 - 1;    // lower than any score as a whole number
constexpr unsigned ALL = 0xffffffffu;
#define INFINITE __int_as_float(0x7f800000)

struct alignas(64) TensorMap { char opaque[128]; };

struct Shared {
    unsigned long long full[STAGES], empty[STAGES], queries;
    int count[GROUPS][HALF];       // candidates in each list
    float bound[GROUPS][HALF];
    int start[ROWS], end[ROWS];    // each row's keys
    float guess[ROWS];             // by the first pass; -inf: none
    int open[ROWS];                // whether the row is still to be chosen for
    int again;                     // whether another pass is needed
    int parts[GROUPS][2][4];       // of sums over a group's warps
};

// Floats as whole numbers of the same order, and back.
int ordered(float x) { const int b = __float_as_int(x); return b ^ ((b >> 31) & 0x7fffffff); }
float unordered(int b) { return __int_as_float(b ^ ((b >> 31) & 0x7fffffff)); }

unsigned address(const void* p) { return static_cast<unsigned>(__cvta_generic_to_shared(p)); }

void barrier_init(unsigned long long* b, int arrivals) {
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address(b)), "r"(arrivals) : "memory");
}

void barrier_expect(unsigned long long* b, int bytes) {
    asm volatile(
        "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(address(b)), "r"(bytes) : "memory");
}

void barrier_arrive(unsigned long long* b) {
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address(b)) : "memory");
}

void barrier_wait(unsigned long long* b, int parity) {
    asm volatile(
        "{\n.reg .pred done;\nagain:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra over;\nbra again;\nover:\n}" ::"r"(address(b)), "r"(parity) : "memory");
}

void fetch(void* to, const TensorMap* from, int row, unsigned long long* b) {
    asm volatile(
        "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
        "[%0], [%1, {%2, %3}], [%4];"
        ::"r"(address(to)), "l"(from), "r"(0), "r"(row), "r"(address(b)) : "memory");
}

// Barriers of one group's threads; the second tells whether any of them said so.
void group_sync(int group) { asm volatile("bar.sync %0, 128;" ::"r"(group + 1) : "memory"); }

bool group_any(int group, bool mine) {
    int any;
    asm volatile(
        "{\n.reg .pred p, q;\nsetp.ne.s32 p, %1, 0;\nbar.red.or.pred q, %2, 128, p;\nselp.s32 %0, 1, 0, q;\n}"
        : "=r"(any) : "r"(static_cast<int>(mine)), "r"(group + 1) : "memory");
    return any != 0;
}

// Sums over a group's threads: `round` counts the sums of a group, which take turns with the place they use.
int group_sum(Shared* s, int group, int& round, int mine) {
    const int sum = __reduce_add_sync(ALL, mine), lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    int* parts = s->parts[group][round++ & 1];
    if (lane == 0) parts[warp] = sum;
    group_sync(group);
    return parts[0] + parts[1] + parts[2] + parts[3];
}

int group_max(Shared* s, int group, int& round, int mine) {
    const int most = __reduce_max_sync(ALL, mine), lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    int* parts = s->parts[group][round++ & 1];
    if (lane == 0) parts[warp] = most;
    group_sync(group);
    return max(max(parts[0], parts[1]), max(parts[2], parts[3]));
}

// What comes before a thread's own number, over a group's threads: two numbers of 16 bits at once.
int group_before(Shared* s, int group, int& round, int mine) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4;
    int sum = mine;
#pragma unroll
    for (int d = 1; d < 32; d *= 2) {
        const int other = __shfl_up_sync(ALL, sum, d);
        if (lane >= d) sum += other;
    }
    int* parts = s->parts[group][round++ & 1];
    if (lane == 31) parts[warp] = sum;
    group_sync(group);
    for (int w = 0; w < warp; w++) sum += parts[w];
    return sum - mine;
}

// Between which whole numbers the last score lies that stays: at least `low`, less than `high`.
struct Cut { int low, high, n_low, n_high; };

// Finds the cut that leaves `least` at least of the scores that a group holds, and `most` at most, or as few
// as differ. A thread holds EACH of one list, which has `n_first`, and as many of another, if M says so.
template <int M>
Cut find_cut(
    Shared* s, int group, int& round, const int (&score)[M], int n_first, int n_second, int least, int most) {
    constexpr int STEP = 4;  // looked at together: those beyond a list's end are passed over
    const auto ends_before = [&](int j) { return j % EACH * GROUP >= (j < EACH ? n_first : n_second); };
    int lowest = 0x7fffffff, highest = NOTHING;
#pragma unroll
    for (int j = 0; j < M; j++) {
        if (score[j] != NOTHING) lowest = min(lowest, score[j]);
        highest = max(highest, score[j]);
    }
    Cut cut;
    cut.low = -1 - group_max(s, group, round, -1 - lowest);
    cut.high = group_max(s, group, round, highest) + 1;
    cut.n_low = n_first + n_second;
    cut.n_high = 0;
    int middle = (cut.low & cut.high) + ((cut.low ^ cut.high) >> 1);
    while (cut.n_low > most && middle > cut.low) {
        int mine = 0;
#pragma unroll
        for (int j = 0; j < M; j += STEP) {
            if (ends_before(j)) continue;
#pragma unroll
            for (int i = 0; i < STEP; i++) mine += score[j + i] >= middle;
        }
        const int found = group_sum(s, group, round, mine);
        if (found >= least) cut.low = middle, cut.n_low = found;
        else cut.high = middle, cut.n_high = found;
        middle = (cut.low & cut.high) + ((cut.low ^ cut.high) >> 1);
    }
    return cut;
}

// Cuts a list of a group down to `least` of its best and few more, and raises the bound to the least of them.
__noinline__ void cut_list(Shared* s, int group, int row, uint2* list, int least) {
    const int thread = threadIdx.x % GROUP, n = s->count[group][row];
    if (n < least + SLACK / 2) return;
    int round = 0, score[EACH];
    unsigned key[EACH];
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        const int i = j * GROUP + thread;
        score[j] = NOTHING;
        if (i < n) {
            const uint2 one = list[i];
            score[j] = ordered(__uint_as_float(one.x));
            key[j] = one.y;
        }
    }
    const Cut cut = find_cut<EACH>(s, group, round, score, n, 0, least, least + SLACK / 8);
    const int keep = cut.n_low <= least + SLACK / 8 ? cut.n_low : least;
    int mine = 0;
#pragma unroll
    for (int j = 0; j < EACH; j++) mine += score[j] >= cut.high ? 1 : score[j] >= cut.low ? 1 << 16 : 0;
    const int before = group_before(s, group, round, mine);
    int over = before & 0xffff, between = cut.n_high + (before >> 16);
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        int to = CAPACITY;
        if (score[j] >= cut.high) to = over++;
        else if (score[j] >= cut.low) to = between++;
        if (to < keep) list[to] = make_uint2(__float_as_uint(unordered(score[j])), key[j]);
    }
    if (thread == 0) {
        s->count[group][row] = keep;
        s->bound[group][row] = unordered(cut.low);
    }
    group_sync(group);
}

// Takes a row's two lists together: guesses a bound from them, or chooses from them.
__noinline__ void close_row(
    Shared* s, int group, int row, const uint2* lists, int pass, int topk, int rank, int* out) {
    const int thread = threadIdx.x % GROUP, half = row / HALF, mine_row = row % HALF;
    const int n_first = s->count[2 * half][mine_row], n_second = s->count[2 * half + 1][mine_row];
    const int n = n_first + n_second, start = s->start[row], length = max(s->end[row] - start, 0);
    const uint2* first = lists + (2 * half * HALF + mine_row) * CAPACITY;
    const uint2* second = first + HALF * CAPACITY;
    const int least = pass == 0 ? rank : topk;
    const bool guessed_high = n < min(topk, length) && s->guess[row] != -INFINITE;
    if (pass == 1 && (guessed_high || max(n_first, n_second) > CAPACITY)) {
        group_sync(group);  // all of it has read the guess
        if (thread == 0) s->guess[row] = -INFINITE, s->again = 1;
        group_sync(group);
        return;
    }
    int round = 0, score[2 * EACH];
#pragma unroll
    for (int j = 0; j < EACH; j++) {
        const int i = j * GROUP + thread;
        score[j] = score[EACH + j] = NOTHING;
        if (i < n_first) score[j] = ordered(__uint_as_float(first[i].x));
        if (i < n_second) score[EACH + j] = ordered(__uint_as_float(second[i].x));
    }
    Cut cut = {NOTHING, NOTHING, n, 0};  // all of them
    const int most = pass == 0 ? least + 8 : least;
    if (n > least) cut = find_cut<2 * EACH>(s, group, round, score, n_first, n_second, least, most);
    if (pass == 0) {
        // A little less, so that equal scores reach it too.
        const bool enough = n > least && length >= 2 * rank * STRIDE;
        if (thread == 0) s->guess[row] = enough ? unordered(cut.low - 2) : -INFINITE;
        group_sync(group);
        return;
    }
    int mine = 0;
#pragma unroll
    for (int j = 0; j < 2 * EACH; j++)
        if (score[j] != NOTHING) mine += score[j] >= cut.high ? 1 : score[j] >= cut.low ? 1 << 16 : 0;
    const int before = group_before(s, group, round, mine);
    int over = before & 0xffff, between = cut.n_high + (before >> 16);
#pragma unroll
    for (int j = 0; j < 2 * EACH; j++) {
        if (score[j] == NOTHING || score[j] < cut.low) continue;
        const int to = score[j] >= cut.high ? over++ : between++;
        const uint2* list = j < EACH ? first : second;
        if (to < topk) out[to] = static_cast<int>(list[j % EACH * GROUP + thread].y) - start;
    }
    for (int i = min(n, topk) + thread; i < topk; i += GROUP) out[i] = -1;
    if (thread == 0) s->open[row] = 0;
    group_sync(group);
}

// Lower half of the descriptor of a tile in shared memory: rows of 128 bytes, swizzled, eight of them 1,024
// bytes from the next. The upper half is always the same.
unsigned tile_of(const void* p) { return (address(p) >> 4 & 0x3fff) | 1u << 16; }

#define LIST8(m, i) m(i), m(i + 1), m(i + 2), m(i + 3), m(i + 4), m(i + 5), m(i + 6), m(i + 7)
#define OUT1(i) "=f"(d[i])
#define PRODUCT(add)                                                                                        \
    "mov.b64 a, {la, 0x40000040};\nmov.b64 b, {lb, 0x40000040};\n"                                          \
    "wgmma.mma_async.sync.aligned.m64n128k32.f32.e4m3.e4m3 "                                                \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                               \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                      \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                      \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}, a, b, " add ", 1, 1;\n"
#define NEXT "add.u32 la, la, 2;\nadd.u32 lb, lb, 2;\n"

// 64 keys by 128 columns, float32. Thread by thread: of keys lane / 4 and lane / 4 + 8 of its warp's 16,
// columns 8 i + 2 (lane % 4) and the next.
void multiply(float (&d)[64], unsigned a, unsigned b) {
    asm volatile(
        "{\n.reg .b64 a, b;\n.reg .b32 la, lb;\nmov.b32 la, %64;\nmov.b32 lb, %65;\n"
        "wgmma.fence.sync.aligned;\n"
        PRODUCT("0") NEXT PRODUCT("1") NEXT PRODUCT("1") NEXT PRODUCT("1")
        "wgmma.commit_group.sync.aligned;\nwgmma.wait_group.sync.aligned 0;\n}"
        : LIST8(OUT1, 0), LIST8(OUT1, 8), LIST8(OUT1, 16), LIST8(OUT1, 24), LIST8(OUT1, 32), LIST8(OUT1, 40),
          LIST8(OUT1, 48), LIST8(OUT1, 56)
        : "r"(a), "r"(b)
        : "memory");
}

// Has a stage of keys fetched, from `row` of their map on, once all groups are done with what was there.
void fetch_stage(Shared* s, char* stages, const TensorMap* keys, int row, unsigned stage) {
    const unsigned at = stage % STAGES;
    barrier_wait(&s->empty[at], (stage / STAGES & 1) ^ 1);
    barrier_expect(&s->full[at], STAGE_BYTES);
    fetch(stages + at * STAGE_BYTES, keys, row, &s->full[at]);
}

// One pass of a group over `tiles` stages of keys, each the STEP-th, `first` of their map the first. `stage`
// counts the stages since the kernel began. With CUTS no list overflows; without, groups never wait for each
// other, and a list that was too short shows by its count. n_rows: how many of the block's rows there are.
template <int STEP, bool CUTS>
void score_keys(
    Shared* s, char* stages, const TensorMap* keys, const char* queries, const float* p_scale,
    const float* p_weight, int n_rows, uint2* lists, int group, int first, int tiles, int n_keys, int least,
    int longest, unsigned& stage) {
    constexpr int MINE = HALF / 2;  // keys whose scores a thread ends up with: two of one row, or one
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32 % 4, half = group / 2;
    const int row = HALF == 4 ? lane % 4 : lane / 2 % 2;
    const unsigned b = tile_of(queries + half * COLUMNS * DIM), a = tile_of(stages + group % 2 * TILE * DIM);
    int* count = &s->count[group][row];
    uint2* list = lists + (group * HALF + row) * CAPACITY;
    float bound = s->bound[group][row];
    int key = (first + group % 2 * TILE + warp * 16 + lane / 4 + (HALF == 2 ? lane % 2 * 8 : 0)) * STEP;
    const float* scales = p_scale + key;
    if (threadIdx.x == 0)
        for (int tile = 0; tile < min(AHEAD, tiles); tile++)
            fetch_stage(s, stages, keys, first + tile * KEYS, stage + tile);
    __syncwarp();
    for (int tile = 0; tile < tiles;) {
        // Weights are loaded anew after each cut, which has no room for them in its registers.
        const float* weights = p_weight + half * COLUMNS + lane % 4 * 2;
        const int rows = n_rows - half * HALF;
        float weight[32];
#pragma unroll
        for (int i = 0; i < 32; i++) {
            weight[i] = i / 2 * 8 / HEADS < rows ? weights[i / 2 * 8 + i % 2] : 0.0f;
        }
        bool full = false;
        for (; tile < tiles && !full; tile++, stage++, key += KEYS * STEP, scales += KEYS * STEP) {
            const unsigned at = stage % STAGES;
            if (threadIdx.x == 0 && tile + AHEAD < tiles)
                fetch_stage(s, stages, keys, first + (tile + AHEAD) * KEYS, stage + AHEAD);
            __syncwarp();
            float scale[MINE];
#pragma unroll
            for (int i = 0; i < MINE; i++)
                scale[i] = key + i * 8 * STEP < n_keys ? __ldg(scales + i * 8 * STEP) : 0.0f;
            barrier_wait(&s->full[at], stage / STAGES & 1);
            float d[64];
            multiply(d, a + at * (STAGE_BYTES >> 4), b);
            if (lane == 0) barrier_arrive(&s->empty[at]);
            // Each thread's part of the sums over heads, of two keys: rows, then keys.
            float v[2 * HALF];
#pragma unroll
            for (int r = 0; r < HALF; r++) {
                v[2 * r] = v[2 * r + 1] = 0.0f;
#pragma unroll
                for (int i = r * 16 / HALF; i < (r + 1) * 16 / HALF; i++) {
                    v[2 * r] = fmaf(fmaxf(d[4 * i], 0.0f), weight[2 * i], v[2 * r]);
                    v[2 * r + 1] = fmaf(fmaxf(d[4 * i + 2], 0.0f), weight[2 * i], v[2 * r + 1]);
                    v[2 * r] = fmaf(fmaxf(d[4 * i + 1], 0.0f), weight[2 * i + 1], v[2 * r]);
                    v[2 * r + 1] = fmaf(fmaxf(d[4 * i + 3], 0.0f), weight[2 * i + 1], v[2 * r + 1]);
                }
            }
            // Four threads have parts of the same sums: each ends up with whole ones, a fourth of them.
            float u[HALF], x[MINE];
#pragma unroll
            for (int i = 0; i < HALF; i++) {
                const float mine = lane & 2 ? v[HALF + i] : v[i], other = lane & 2 ? v[i] : v[HALF + i];
                u[i] = mine + __shfl_xor_sync(ALL, other, 2);
            }
            bool any = false;
#pragma unroll
            for (int i = 0; i < MINE; i++) {
                const float mine = lane & 1 ? u[MINE + i] : u[i], other = lane & 1 ? u[i] : u[MINE + i];
                x[i] = (mine + __shfl_xor_sync(ALL, other, 1)) * scale[i];
                any |= x[i] > bound;
            }
            if (any) {
                const int from = s->start[half * HALF + row], to = s->end[half * HALF + row];
#pragma unroll
                for (int i = 0; i < MINE; i++) {
                    const int k = key + i * 8 * STEP;
                    if (x[i] > bound && k >= from && k < to) {
                        const int place = atomicAdd(count, 1);
                        if (CUTS || place < CAPACITY) list[place] = make_uint2(__float_as_uint(x[i]), k);
                    }
                }
            }
            full = CUTS && (tile & (LOOK - 1)) == LOOK - 1 && group_any(group, *count > longest);
        }
        if (!full) break;
        for (int r = 0; r < HALF; r++) cut_list(s, group, r, lists + (group * HALF + r) * CAPACITY, least);
        bound = s->bound[group][row];
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, 1) index_topk(
    const __grid_constant__ TensorMap m_q,       // [rows HEADS, DIM] fp8, boxes of 128 rows
    const __grid_constant__ TensorMap m_k,       // [keys, DIM] fp8, boxes of KEYS
    const __grid_constant__ TensorMap m_sample,  // the same of every STRIDE-th key
    const float* p_scale,                        // [keys]
    const float* p_weight,                       // [rows, HEADS]
    const int* p_start,                          // [rows]
    const int* p_end,                            // [rows]
    uint2* p_lists,                              // [blocks, GROUPS, HALF, CAPACITY]: scores and keys
    int* p_out,                                  // [rows, topk]
    int n_rows, int n_keys, int topk,
    int rank) {                                  // of a sample's keys that are to reach the guess
    extern __shared__ unsigned char dynamic[];
    char* stages = reinterpret_cast<char*>(dynamic + (1024 - (address(dynamic) & 1023)) % 1024);
    char* queries = stages + STAGES * STAGE_BYTES;
    __shared__ Shared shared;
    Shared* s = &shared;
    const int thread = threadIdx.x;
    const int group = __shfl_sync(ALL, thread / GROUP, 0);  // so the compiler knows it is one a warp
    uint2* lists = p_lists + static_cast<long long>(blockIdx.x) * GROUPS * HALF * CAPACITY;
    if (thread == 0) {
        for (int i = 0; i < STAGES; i++) {
            barrier_init(&s->full[i], 1);
            barrier_init(&s->empty[i], GROUPS * 4);
        }
        barrier_init(&s->queries, 1);
        asm volatile("fence.mbarrier_init.release.cluster;\nfence.proxy.async;" ::: "memory");
    }
    unsigned stage = 0;
    int blocks = 0;
    for (int row = blockIdx.x * ROWS; row < n_rows; row += gridDim.x * ROWS, blocks++) {
        __syncthreads();  // nothing of the rows before is needed any more
        if (thread < ROWS) {
            const bool there = row + thread < n_rows;
            s->start[thread] = there ? max(p_start[row + thread], 0) : n_keys;
            s->end[thread] = there ? min(p_end[row + thread], n_keys) : 0;
            s->guess[thread] = -INFINITE;
            s->open[thread] = there;
        }
        if (thread == 0) s->again = 0;
        __syncthreads();
        int from = n_keys, to = 0;
        for (int r = 0; r < ROWS; r++)
            if (s->end[r] > s->start[r]) from = min(from, s->start[r]), to = max(to, s->end[r]);
        if (thread == 0) {
            barrier_expect(&s->queries, QUERY_BYTES);
            for (int i = 0; i < QUERY_BYTES / (COLUMNS * DIM); i++)
                fetch(queries + i * COLUMNS * DIM, &m_q, row * HEADS + i * COLUMNS, &s->queries);
        }
        __syncwarp();
        barrier_wait(&s->queries, blocks & 1);
        for (int pass = to - from > CAPACITY ? 0 : 1; pass < 3; pass++) {
            const int step = pass == 0 ? STRIDE : 1;
            const int first = (from + step - 1) / step, last = (to + step - 1) / step;
            const int tiles = (max(last - first, 0) + KEYS - 1) / KEYS;
            if (thread < GROUPS * HALF) {
                const int g = thread / HALF, r = thread % HALF, whole = g / 2 * HALF + r;
                s->count[g][r] = 0;
                s->bound[g][r] = s->open[whole] ? s->guess[whole] : INFINITE;
            }
            __syncthreads();
            const float* p = p_weight + static_cast<long long>(row) * HEADS;
            const int rows = n_rows - row;
            if (pass == 0)
                score_keys<STRIDE, true>(
                    s, stages, &m_sample, queries, p_scale, p, rows, lists, group, first, tiles, n_keys, rank,
                    SHORT, stage);
            else if (pass == 1)
                score_keys<1, false>(
                    s, stages, &m_k, queries, p_scale, p, rows, lists, group, first, tiles, n_keys, topk,
                    CAPACITY, stage);
            else
                score_keys<1, true>(
                    s, stages, &m_k, queries, p_scale, p, rows, lists, group, first, tiles, n_keys, topk,
                    CAPACITY - SLACK, stage);
            __syncthreads();
            for (int r = group; r < ROWS; r += GROUPS)
                if (s->open[r])
                    close_row(
                        s, group, r, lists, pass, topk, rank, p_out + static_cast<long long>(row + r) * topk);
            __syncthreads();
            if (pass == 1 && !s->again) break;
        }
    }
}
