/* castoff_device_cuda.h: what the files of the CUDA device share. */
#ifndef CASTOFF_DEVICE_CUDA_H
#define CASTOFF_DEVICE_CUDA_H

#include <cuda_runtime_api.h>

#include "castoff_instance.h"

/* The weights of the file in a GPU's memory: one for each GPU, for all instances. */
typedef struct castoff_shared_weights {
  struct castoff_shared_weights *next;
  int device_id;
  int references;
  unsigned char *memory;
} castoff_shared_weights;

struct castoff_device {
  int id;
  uint32_t flags;
  const castoff_program *program;
  castoff_shared_weights *shared;
  unsigned char *own_weights; /* of constants that the host keeps elsewhere */
  size_t weights_size_bytes;
  _Atomic size_t arenas_size_bytes; /* of the runs of the instance together */
  int has_pools;                    /* outputs come from cudaMallocAsync() */
  cudaEvent_t buffers_done;
  _Atomic int is_lost;
  char lost_because[CASTOFF_ERROR_SIZE / 2];
};

/* What a run launches, recorded; `key` is all that its addresses and sizes depend on. */
typedef struct castoff_graph {
  unsigned char *key;
  cudaGraphExec_t executable; /* NULL: seen once */
  int is_refused;             /* waits for values: it cannot be recorded */
  uint64_t last_used;
} castoff_graph;

enum { CASTOFF_MOST_GRAPHS = 32 };

struct castoff_device_run {
  castoff_device *device;
  castoff_run_context *context;
  cudaStream_t own_stream;
  cudaStream_t recording_stream; /* NULL before the first recording */
  cudaStream_t stream; /* of this run, or the last one */
  cudaEvent_t done;
  int is_pending; /* the stream may still hold work of the last run: `done` tells */
  int is_waited_for;
  int has_copied_to_host;

  int *faults; /* device memory, and the same on the host as it was when last reported */
  int *reported_faults;
  int fault_count;
  const char *const *fault_messages;

  castoff_graph graphs[CASTOFF_MOST_GRAPHS];
  unsigned char *key;
  uint64_t uses;
};

/* `what` failed: the sentence, and whether the device is lost with it. */
castoff_status castoff_cuda_check(castoff_device *device, cudaError_t error, const char *what);
/* What `second` does from now on comes after what `first` holds. */
cudaError_t castoff_cuda_order(cudaStream_t first, cudaStream_t second);
/* After a failure that was reported elsewhere. */
void castoff_cuda_notice_loss(castoff_device *device, const char *because);

/* ---- castoff_device_cuda_graphs.c ---- */

castoff_status castoff_graph_launch(castoff_device_run *run, castoff_frame *frame,
                                    int (*function)(castoff_frame *frame));
void castoff_graph_free_all(castoff_device_run *run);

/* ---- cuda/strided.cuh ---- */

int castoff_cuda_copy_strided(void *target, const int64_t *target_strides, const void *source,
                              const int64_t *source_strides, int rank, const int64_t *shape, int item_bytes,
                              void *stream);

#endif
