/* castoff_lent.c: memory of results that several owners share, for consumers of DLPack. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "castoff_instance.h"

typedef struct shared_memory {
  _Atomic int references;
  void *memory;
  void *stream; /* what it still holds may use the memory */
  _Atomic int is_used_elsewhere;
} shared_memory;

void *castoff_share(void *memory, void *stream) {
  shared_memory *shared = malloc(sizeof(*shared));
  if (!shared) {
    castoff_device_release_on_stream(memory, stream);
    return NULL;
  }
  atomic_init(&shared->references, 1);
  atomic_init(&shared->is_used_elsewhere, 0);
  shared->memory = memory;
  shared->stream = stream;
  return shared;
}

void castoff_unshare(void *handle) {
  shared_memory *shared = handle;
  if (!shared || atomic_fetch_sub(&shared->references, 1) > 1) return;
  if (atomic_load(&shared->is_used_elsewhere))
    castoff_device_release(shared->memory);
  else
    castoff_device_release_on_stream(shared->memory, shared->stream);
  free(shared);
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
  if (!managed || !sizes) {
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
  if (consumer != shared->stream) atomic_store(&shared->is_used_elsewhere, 1);
  return managed;
}
