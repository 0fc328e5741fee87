/* Fannkuch: permutations and reversals of a small array, entirely in functions that cannot suspend. */
#include "bench.h"

enum { N = 10 };

static void prepare(void) {}

static uint64_t fannkuch(int n) {
    int permutation[N], copy[N], count[N];
    int most = 0, sum = 0, parity = 1, r = n;
    for (int i = 0; i < n; i++) permutation[i] = i;
    for (;;) {
        for (; r != 1; r--) count[r - 1] = r;
        memcpy(copy, permutation, sizeof copy);
        int flips = 0;
        for (int first = copy[0]; first != 0; first = copy[0]) {
            for (int low = 0, high = first; low < high; low++, high--) {
                int swap = copy[low];
                copy[low] = copy[high];
                copy[high] = swap;
            }
            flips++;
        }
        if (flips > most) most = flips;
        sum += parity * flips;
        parity = -parity;
        for (;;) {
            if (r == n) return hash_number(hash_number(HASH_START, most), sum);
            int first = permutation[0];
            memmove(permutation, permutation + 1, (size_t)r * sizeof *permutation);
            permutation[r] = first;
            if (--count[r] > 0) break;
            r++;
        }
    }
}

static uint64_t run_round(void) {
    return fannkuch(N);
}
