/* castoff_instance.h: the state behind a castoff_instance, shared by the files of the ABI layer. */
#ifndef CASTOFF_INSTANCE_H
#define CASTOFF_INSTANCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "castoff_device.h"

/* A replaced constant; counted by the sets that hold it, under castoff_instance.constants_lock. */
typedef struct castoff_value {
  int references;
  void *data; /* of the device */
} castoff_value;

/* What one run reads its constants from. Never changed once it is seen; freed when no run reads it. */
typedef struct castoff_constants {
  struct castoff_constants *next_retired;
  uint64_t number; /* no other set of the process has it */
  castoff_value **values; /* NULL entries: still those of the file */
  const void **pointers;
} castoff_constants;

/* Addresses [begin, end) that a run writes to on behalf of its caller. */
typedef struct castoff_range {
  uintptr_t begin, end;
} castoff_range;

typedef struct castoff_block {
  void *memory;
  size_t size_bytes;
  int in_use; /* 0, or the how manieth that the run took */
} castoff_block;

typedef struct castoff_blocks {
  castoff_block *list;
  int count;
  int is_on_host;
} castoff_blocks;

/* What one run needs, kept for the next. Contexts are only ever added to their instance, until it is destroyed. */
typedef struct castoff_run_context {
  struct castoff_run_context *next;
  _Atomic int taken;
  /* The set this run reads: whoever replaces constants frees no set that a context points to. */
  _Atomic(castoff_constants *) constants;
  castoff_instance *instance;
  const castoff_program *program;
  const castoff_call *call;
  castoff_device_run *device_run;

  void **inputs;
  void **outputs;
  unsigned char *output_owned; /* [i]: the ABI layer allocated output i in this run */
  int64_t **output_shapes;
  castoff_range *written; /* one per output, then one per input; empty where nothing of the caller's is written */
  castoff_input_view *views;
  int64_t *symbols;

  unsigned char *arena;
  size_t arena_size_bytes;
  castoff_blocks blocks; /* scratch, and dense copies of tensors that kernels cannot use as they are */
  castoff_blocks host_blocks;
  int block_uses; /* blocks that this run has taken */
  uint64_t memory_version; /* another one: arena or blocks lie elsewhere than they did */
} castoff_run_context;

struct castoff_instance {
  struct castoff_instance *previous, *next; /* of all instances, for fork */
  const castoff_program *program;
  int level;
  castoff_pool pool;
  castoff_device *device;
  _Atomic(castoff_run_context *) contexts;

  const void **built_constants; /* as the program was built: in the image, or where the host keeps them */
  _Atomic(castoff_constants *) constants;
  castoff_constants *retired;
  pthread_mutex_t constants_lock; /* held by replacers, never by runs */

  void **buffers;
  pthread_mutex_t buffers_lock; /* held by a run where the program has buffers */
};

/* ---- castoff_context.c ---- */

/* A context that nobody uses. */
castoff_status castoff_take_context(castoff_instance *instance, void *stream, castoff_run_context **taken);
void castoff_give_back_context(castoff_run_context *context);
void castoff_free_contexts(castoff_instance *instance);
castoff_status castoff_grow_arena(castoff_run_context *context);
/* Memory of the device, and of the host, to the end of the run; NULL with the sentence set. */
void *castoff_context_block(castoff_run_context *context, size_t size_bytes);
void *castoff_context_host_block(castoff_run_context *context, size_t size_bytes);
/* The run does not need what it took after the first `kept` blocks. */
void castoff_context_drop_blocks(castoff_run_context *context, int kept);

/* ---- castoff_lent.c ---- */

void *castoff_share(void *memory, void *stream);
castoff_managed_tensor *castoff_lend(void *shared, const DLTensor *tensor, void *consumer);
void castoff_unshare(void *shared);

/* ---- castoff_run.c ---- */

castoff_status castoff_run(castoff_instance *instance, const castoff_call *call);
castoff_status castoff_run_on_stream(castoff_instance *instance, const castoff_call *call, void *stream);
castoff_status castoff_synchronize_runs(castoff_instance *instance);
/* Refuses where a run on the stream is done and found an index out of range. */
castoff_status castoff_learn_of_runs(castoff_instance *instance, void *stream);
castoff_status castoff_output_shapes(castoff_instance *instance, int32_t n_inputs, DLTensor *const *inputs,
                                     int32_t n_outputs, int64_t *const *shapes);

/* Holds the inputs to their specs and binds the symbols that dimensions name; then the program's own resolve(). */
castoff_status castoff_resolve(const castoff_instance *instance, DLTensor *const *inputs, castoff_input_view *views,
                               int64_t *symbols);
/* A tensor that is no input: dtype, rank and sizes must be those given. `what` begins the sentence: "output ". */
castoff_status castoff_check_tensor(const castoff_device *device, const char *what, const char *name,
                                    const DLTensor *tensor, DLDataType dtype, int32_t rank, const int64_t *sizes);

/* ---- castoff_state.c ---- */

/* `constants` as in castoff_options: NULL for those behind the image. */
castoff_status castoff_create_state(castoff_instance *instance, const castoff_image *image,
                                    const void *const *constants);
void castoff_free_state(castoff_instance *instance);
/* Loads the current set and keeps it from being freed until castoff_unpin_constants(). */
castoff_constants *castoff_pin_constants(castoff_instance *instance, castoff_run_context *context);
void castoff_unpin_constants(castoff_run_context *context);

castoff_status castoff_read_constant(castoff_instance *instance, const char *name, const DLTensor *value);
castoff_status castoff_replace_constants(castoff_instance *instance, int32_t count, const char *const *names,
                                         const DLTensor *const *values);
castoff_status castoff_read_buffer(castoff_instance *instance, const char *name, const DLTensor *value);
castoff_status castoff_write_buffer(castoff_instance *instance, const char *name, const DLTensor *value);
castoff_status castoff_reset_buffers(castoff_instance *instance);

#endif
