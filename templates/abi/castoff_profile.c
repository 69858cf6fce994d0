/* castoff_profile.c: what the steps of a program that was built to be measured did, until somebody takes it. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "castoff_internal.h"

enum { MOST_STEPS = 65536 };

static castoff_step *noted; /* MOST_STEPS of them once a step was noted */
static int32_t n_noted;
static pthread_mutex_t noted_lock = PTHREAD_MUTEX_INITIALIZER;

int64_t castoff_now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

void castoff_note_step(int32_t number, int64_t begin_ns, int64_t size_bytes, int64_t operations) {
  const castoff_step step = {begin_ns, castoff_now_ns(), size_bytes, operations, number, 0};
  pthread_mutex_lock(&noted_lock);
  if (!noted) noted = malloc(MOST_STEPS * sizeof(*noted));
  if (noted && n_noted < MOST_STEPS) noted[n_noted++] = step;
  pthread_mutex_unlock(&noted_lock);
}

int32_t castoff_take_steps(castoff_step *steps, int32_t capacity) {
  pthread_mutex_lock(&noted_lock);
  const int32_t count = n_noted < capacity ? n_noted : capacity > 0 ? capacity : 0;
  if (count > 0) {
    memcpy(steps, noted, (size_t)count * sizeof(*steps));
    memmove(noted, noted + count, (size_t)(n_noted - count) * sizeof(*noted));
    n_noted -= count;
  }
  pthread_mutex_unlock(&noted_lock);
  return count;
}

void castoff_profile_after_fork(void) {
  n_noted = 0;
  pthread_mutex_init(&noted_lock, NULL);
}
