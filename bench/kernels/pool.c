/* What a parallel loop costs: microseconds to give an empty loop to the workers and have it back, while they spin and
 * after they went to sleep, beside a pair of threads that hand a cache line to and fro (the least that two threads can
 * take); then a loop of some milliseconds, which shows whether workers that slept are there in time. Medians; as many
 * threads as the process may use, or the first argument.
 * gcc -O2 -pthread -I../../templates/abi -I../../templates pool.c ../../templates/abi/castoff_pool.c -o pool && ./pool */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "castoff_internal.h"
#include "castoff_pool.h"
#include "measure/peak.h"

enum { TRIES = 20000, TRIES_ASLEEP = 200, STEPS = 100000 };

static _Alignas(64) _Atomic long ball;

static int compare(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }

static double median(double *times, int count) {
    qsort(times, (size_t)count, sizeof *times, compare);
    return times[count / 2] * 1e6;
}

static void nothing(void *context, int64_t begin, int64_t end, int thread) { (void)context, (void)begin, (void)end, (void)thread; }

static void work_a_while(void *context, int64_t begin, int64_t end, int thread) {
    (void)thread;
    volatile double *sums = context;
    for (int64_t i = begin * STEPS; i < end * STEPS; i++) sums[begin * 8] += 1;
}

static void *throw_back(void *unused) {
    for (long i = 0; i < TRIES; i++) {
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 1) __asm__ volatile("" ::: "memory");
        atomic_store_explicit(&ball, 2 * i + 2, memory_order_release);
    }
    return unused;
}

int main(int count, char **arguments) {
    static double times[TRIES];
    castoff_pool pool = {castoff_pool_choose_threads(count > 1 ? atoi(arguments[1]) : 0)};
    printf("%d threads\n", pool.threads);

    pthread_t other;
    pthread_create(&other, NULL, throw_back, NULL);
    for (long i = 0; i < TRIES; i++) {
        double start = now();
        atomic_store_explicit(&ball, 2 * i + 1, memory_order_release);
        while (atomic_load_explicit(&ball, memory_order_acquire) != 2 * i + 2) __asm__ volatile("" ::: "memory");
        times[i] = now() - start;
    }
    pthread_join(other, NULL);
    printf("a cache line there and back   %.2f us\n", median(times, TRIES));

    for (int i = 0; i < TRIES; i++) {
        double start = now();
        castoff_parallel_for(&pool, pool.threads, 1, nothing, NULL);
        times[i] = now() - start;
    }
    printf("a loop, workers awake         %.2f us\n", median(times, TRIES));

    for (int i = 0; i < TRIES_ASLEEP; i++) {
        usleep(2000);
        double start = now();
        castoff_parallel_for(&pool, pool.threads, 1, nothing, NULL);
        times[i] = now() - start;
    }
    printf("a loop, workers asleep        %.2f us\n", median(times, TRIES_ASLEEP));

    static double sums[16 * 8];
    for (int alone = 1; alone >= 0; alone--) {
        for (int i = 0; i < TRIES_ASLEEP; i++) {
            usleep(2000);
            double start = now();
            castoff_parallel_for(alone ? NULL : &pool, 16, 1, work_a_while, sums);
            times[i] = now() - start;
        }
        printf("%-30s%.0f us\n", alone ? "a long loop, alone" : "a long loop, workers asleep", median(times, TRIES_ASLEEP));
        printf("%-30s%.0f us\n", "  the slowest tenth", times[TRIES_ASLEEP * 9 / 10] * 1e6);
    }
    castoff_pool_stop();
    return 0;
}
