/*
 * The inner loops of exact diffs: steps from float to float, in the order of the base's exponents.
 *
 * The same as ulp.py and permutation.py do in NumPy, in one pass instead of a dozen; kernels.py calls
 * them, and tests compare the two to the bit. For BITS = 16 and 32; n elements, all arrays of that length.
 *
 *   count     how many elements of the base have each exponent, counts[256]
 *   sort      zigzag of the way from base to tuned; the values of exponent e begin at out[starts[e]]
 *   unsort    the tuned patterns again
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 2048

int32_t packtrain_kernels_version(void) { return 1; }

#define KERNELS(BITS, UNSIGNED, SIGNED)                                                                             \
    static inline UNSIGNED place_##BITS(UNSIGNED pattern, UNSIGNED fold) {                                          \
        const UNSIGNED magnitude_mask = (UNSIGNED)((UNSIGNED)~(UNSIGNED)0 >> 1);                                    \
        UNSIGNED position = (UNSIGNED)((pattern & magnitude_mask) - fold) & magnitude_mask;                         \
        return position ^ (UNSIGNED)((SIGNED)pattern >> (BITS - 1));                                                \
    }                                                                                                               \
                                                                                                                    \
    void packtrain_count_##BITS(const UNSIGNED *base, size_t n, int mantissa_bits, UNSIGNED exponent_mask,          \
                                int64_t *counts) {                                                                  \
        uint32_t partial[4][256];                                                                                   \
        memset(partial, 0, sizeof partial);                                                                         \
        for (size_t i = 0; i < n; i++) partial[i & 3][(base[i] >> mantissa_bits) & exponent_mask]++;                \
        for (int e = 0; e < 256; e++)                                                                               \
            counts[e] = (int64_t)partial[0][e] + partial[1][e] + partial[2][e] + partial[3][e];                     \
    }                                                                                                               \
                                                                                                                    \
    void packtrain_sort_##BITS(const UNSIGNED *base, const UNSIGNED *tuned, size_t n, int mantissa_bits,            \
                               UNSIGNED exponent_mask, UNSIGNED fold, const int64_t *starts, UNSIGNED *out) {       \
        UNSIGNED *next[256];                                                                                        \
        UNSIGNED values[BLOCK];                                                                                     \
        uint8_t keys[BLOCK];                                                                                        \
        for (int e = 0; e < 256; e++) next[e] = out + starts[e];                                                    \
        for (size_t begin = 0; begin < n; begin += BLOCK) {                                                         \
            const size_t count = n - begin < BLOCK ? n - begin : BLOCK;                                             \
            for (size_t i = 0; i < count; i++) {                                                                    \
                const UNSIGNED b = base[begin + i];                                                                 \
                const SIGNED step = (SIGNED)(place_##BITS(tuned[begin + i], fold) - place_##BITS(b, fold));         \
                values[i] = (UNSIGNED)((UNSIGNED)step << 1) ^ (UNSIGNED)(step >> (BITS - 1));                       \
                keys[i] = (uint8_t)((b >> mantissa_bits) & exponent_mask);                                          \
            }                                                                                                       \
            for (size_t i = 0; i < count; i++) *next[keys[i]]++ = values[i];                                        \
        }                                                                                                           \
    }                                                                                                               \
                                                                                                                    \
    void packtrain_unsort_##BITS(const UNSIGNED *base, const UNSIGNED *sorted, size_t n, int mantissa_bits,         \
                                 UNSIGNED exponent_mask, UNSIGNED fold, const int64_t *starts, UNSIGNED *out) {     \
        const UNSIGNED magnitude_mask = (UNSIGNED)((UNSIGNED)~(UNSIGNED)0 >> 1);                                    \
        const UNSIGNED *next[256];                                                                                  \
        UNSIGNED values[BLOCK];                                                                                     \
        uint8_t keys[BLOCK];                                                                                        \
        for (int e = 0; e < 256; e++) next[e] = sorted + starts[e];                                                 \
        for (size_t begin = 0; begin < n; begin += BLOCK) {                                                         \
            const size_t count = n - begin < BLOCK ? n - begin : BLOCK;                                             \
            for (size_t i = 0; i < count; i++) keys[i] = (uint8_t)((base[begin + i] >> mantissa_bits) & exponent_mask); \
            for (size_t i = 0; i < count; i++) values[i] = *next[keys[i]]++;                                        \
            for (size_t i = 0; i < count; i++) {                                                                    \
                const UNSIGNED step = (UNSIGNED)((values[i] >> 1) ^ (UNSIGNED)(0 - (values[i] & 1)));               \
                const UNSIGNED place = (UNSIGNED)(place_##BITS(base[begin + i], fold) + step);                      \
                const UNSIGNED sign = (UNSIGNED)((SIGNED)place >> (BITS - 1));                                      \
                out[begin + i] = (UNSIGNED)(((place ^ sign) + fold) & magnitude_mask)                               \
                                 | (UNSIGNED)(sign & (UNSIGNED)~magnitude_mask);                                    \
            }                                                                                                       \
        }                                                                                                           \
    }

KERNELS(16, uint16_t, int16_t)
KERNELS(32, uint32_t, int32_t)
