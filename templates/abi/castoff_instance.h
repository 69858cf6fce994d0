/* castoff_instance.h: the state behind a castoff_instance, shared by the files of the ABI layer. */
#ifndef CASTOFF_INSTANCE_H
#define CASTOFF_INSTANCE_H

#include <pthread.h>
#include <stdatomic.h>

#include "castoff_internal.h"

/* A replaced constant; counted by the sets that hold it, under castoff_instance.constants_lock. */
typedef struct castoff_value {
  int references;
  _Alignas(CASTOFF_ALIGNMENT) unsigned char data[];
} castoff_value;

/* What one run reads its constants from. Never changed once it is seen; freed when no run reads it. */
typedef struct castoff_constants {
  struct castoff_constants *next_retired;
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
  int in_use;
} castoff_block;

/* What one run needs, kept for the next. Contexts are only ever added to their instance, until it is destroyed. */
typedef struct castoff_run_context {
  struct castoff_run_context *next;
  _Atomic int taken;
  /* The set this run reads: whoever replaces constants frees no set that a context points to. */
  _Atomic(castoff_constants *) constants;
  const castoff_program *program;
  const castoff_call *call;

  void **inputs;
  void **outputs;
  unsigned char *output_owned; /* [i]: the ABI layer allocated output i in this run */
  int64_t **output_shapes;
  castoff_range *written; /* one per output, then one per input; empty where nothing of the caller's is written */
  castoff_input_view *views;
  int64_t *symbols;

  unsigned char *arena;
  size_t arena_size_bytes;
  castoff_block *blocks; /* scratch, and dense copies of strided tensors */
  int n_blocks;
} castoff_run_context;

struct castoff_instance {
  struct castoff_instance *previous, *next; /* of all instances, for fork */
  const castoff_program *program;
  int level;
  castoff_pool pool;
  _Atomic(castoff_run_context *) contexts;

  const void **built_constants; /* as the program was built: in the image, or where the host keeps them */
  _Atomic(castoff_constants *) constants;
  castoff_constants *retired;
  pthread_mutex_t constants_lock; /* held by replacers, never by runs */

  void **buffers;
  pthread_mutex_t buffers_lock; /* held by a run where the program has buffers */
};

/* ---- castoff_run.c ---- */

castoff_status castoff_run(castoff_instance *instance, const castoff_call *call);
castoff_status castoff_output_shapes(castoff_instance *instance, int32_t n_inputs, DLTensor *const *inputs,
                                     int32_t n_outputs, int64_t *const *shapes);
void castoff_free_contexts(castoff_instance *instance);

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
