/* castoff_lent.c: memory of results that several owners share, for consumers of DLPack. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "castoff_instance.h"

typedef struct shared_memory {
  struct shared_memory *next; /* that is still to be given back */
  _Atomic int references;
  void *memory;
  pthread_mutex_t lock;
  void **streams; /* what they still hold may use the memory; it was made on the first */
  int stream_count;
} shared_memory;

/* Numbered as in DLPack: the stream of a thread is another one elsewhere, -1 one that is not told. The legacy default stream
 * waits for them, unless they are made not to. */
static void *known_stream(void *stream) {
  const intptr_t number = (intptr_t)stream;
  return number == 0 || number == 2 || number == -1 ? (void *)(intptr_t)1 : stream;
}

void *castoff_share(void *memory, void *stream) {
  shared_memory *shared = malloc(sizeof(*shared));
  void **streams = malloc(sizeof(*streams));
  if (!shared || !streams) {
    castoff_device_release_on_stream(memory, stream);
    free(shared);
    free(streams);
    return NULL;
  }
  atomic_init(&shared->references, 1);
  pthread_mutex_init(&shared->lock, NULL);
  shared->memory = memory;
  shared->streams = streams;
  shared->streams[0] = known_stream(stream);
  shared->stream_count = 1;
  return shared;
}

/* What could not be given back while a stream was recorded; tried again with the next one. */
static _Atomic(shared_memory *) waiting;

static void wait_for_turn(shared_memory *shared) {
  shared->next = atomic_load(&waiting);
  while (!atomic_compare_exchange_weak(&waiting, &shared->next, shared)) continue;
}

static void give_back(shared_memory *shared) {
  if (!castoff_device_release_after(shared->memory, shared->streams, shared->stream_count)) {
    wait_for_turn(shared);
    return;
  }
  pthread_mutex_destroy(&shared->lock);
  free(shared->streams);
  free(shared);
}

void castoff_unshare(void *handle) {
  shared_memory *shared = handle;
  if (!shared || atomic_fetch_sub(&shared->references, 1) > 1) return;
  shared_memory *earlier = atomic_exchange(&waiting, NULL);
  while (earlier) {
    shared_memory *next = earlier->next;
    give_back(earlier);
    earlier = next;
  }
  give_back(shared);
}

/* Whether there was memory for it. */
static int remember_stream(shared_memory *shared, void *stream) {
  pthread_mutex_lock(&shared->lock);
  int i = 0;
  while (i < shared->stream_count && shared->streams[i] != stream) i++;
  if (i == shared->stream_count) {
    void **longer = realloc(shared->streams, sizeof(*longer) * (size_t)(i + 1));
    if (longer) {
      longer[i] = stream;
      shared->streams = longer;
      shared->stream_count++;
    }
  }
  const int is_known = i < shared->stream_count;
  pthread_mutex_unlock(&shared->lock);
  return is_known;
}

static void take_back(castoff_managed_tensor *managed) {
  castoff_unshare(managed->manager_ctx);
  free(managed->dl_tensor.shape);
  free(managed);
}

castoff_managed_tensor *castoff_lend(void *handle, const DLTensor *tensor, void *consumer) {
  shared_memory *shared = handle;
  castoff_managed_tensor *managed = calloc(1, sizeof(*managed));
  int64_t *sizes = calloc(2 * (size_t)tensor->ndim + 1, sizeof(*sizes));
  if (!managed || !sizes || !remember_stream(shared, known_stream(consumer))) {
    free(managed);
    free(sizes);
    return NULL;
  }
  int64_t *strides = sizes + tensor->ndim, step = 1;
  for (int axis = tensor->ndim - 1; axis >= 0; axis--) {
    sizes[axis] = tensor->shape[axis];
    strides[axis] = step;
    step *= sizes[axis] > 0 ? sizes[axis] : 1;
  }
  managed->dl_tensor = *tensor;
  managed->dl_tensor.shape = sizes;
  managed->dl_tensor.strides = strides; /* some consumers know no NULL */
  managed->manager_ctx = handle;
  managed->deleter = take_back;
  atomic_fetch_add(&shared->references, 1);
  return managed;
}
