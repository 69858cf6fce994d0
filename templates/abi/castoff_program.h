/* castoff_program.h: the contract between a generated program and the fixed ABI layer (castoff_abi.c).
 *
 * A generated program defines castoff_program_definition and touches nothing but what its frame gives it.
 */
#ifndef CASTOFF_PROGRAM_H
#define CASTOFF_PROGRAM_H

#include "castoff.h"
#include "castoff_pool.h"

#ifdef __cplusplus
extern "C" {
#endif

/* CPU levels; a higher number is preferred where the processor and the kernel have it. */
enum {
  CASTOFF_LEVEL_BASELINE = 0, /* x86-64 on x86, "generic" elsewhere */
  CASTOFF_LEVEL_X86_64_V3 = 1, /* AVX2, FMA, F16C, BMI1, BMI2, LZCNT, MOVBE */
  CASTOFF_LEVEL_X86_64_V4 = 2, /* v3 and AVX-512 F, BW, CD, DQ, VL */
  CASTOFF_LEVEL_X86_64_BF16 = 3, /* v4 and AVX-512 VNNI, BF16 */
  CASTOFF_LEVEL_X86_64_AMX = 4, /* BF16 and AMX TILE, BF16, INT8 */
  CASTOFF_LEVEL_NATIVE = 5, /* what -march=native meant where it was built: see castoff_program.native_features */
  CASTOFF_LEVEL_COUNT = 6
};

/* Alignment of the arena, of scratch memory, of constants, of buffers and of what the ABI layer allocates. Inputs and
 * outputs of the caller are aligned to their element only. */
#define CASTOFF_ALIGNMENT 64

/* Where a program runs, numbered as DLPack does. */
enum { CASTOFF_DEVICE_CPU = 1, CASTOFF_DEVICE_CUDA = 2, CASTOFF_DEVICE_CUDA_HOST = 3 };

struct castoff_run_context;

/* One run, on the stack of the calling thread. */
typedef struct castoff_frame {
  /* Contiguous, element-aligned, overlapping no output and no mutated input. Inputs flagged CASTOFF_MUTATED may be
   * written; the others must not be. Scalars point to their int64_t, double or uint8_t. */
  void *const *inputs;
  /* Contiguous. NULL for outputs flagged CASTOFF_DATA_DEPENDENT until castoff_frame_allocate_output(). */
  void **outputs;
  /* As resolve() left them; symbols that depend on data are for run() to set. */
  int64_t *symbols;
  const void *const *constants;
  /* The instance's own copies. Reads and writes are not shared with another run. */
  void *const *buffers;
  /* arena_bytes() bytes, not cleared. */
  unsigned char *arena;
  castoff_pool *pool;
  struct castoff_run_context *context; /* of the ABI layer */
  void *stream; /* what the device has to do is enqueued here: a cudaStream_t; NULL on CPUs */
} castoff_frame;

/* Gives an output flagged CASTOFF_DATA_DEPENDENT its shape and its memory, which is also stored in frame->outputs. NULL
 * when there is none (or when a size is negative), with the sentence set: return CASTOFF_OUT_OF_MEMORY then. Once per output
 * and run; not from inside a parallel loop. */
void *castoff_frame_allocate_output(castoff_frame *frame, int output, int rank, const int64_t *shape);

/* Memory of a size known only mid-run, aligned to CASTOFF_ALIGNMENT, not cleared, valid to the end of the run. NULL when
 * there is none, with the sentence set: return CASTOFF_OUT_OF_MEMORY then. Not from inside a parallel loop. */
void *castoff_frame_scratch(castoff_frame *frame, size_t size_bytes);

/* The same on the host, for copies to and from the device; valid until what the stream holds is done. */
void *castoff_frame_host_scratch(castoff_frame *frame, size_t size_bytes);

/* For programs built with the option `profile`: the time before a step, and what the step did since. Not from inside a
 * parallel loop. */
int64_t castoff_now_ns(void);
void castoff_note_step(int32_t number, int64_t begin_ns, int64_t size_bytes, int64_t operations);

/* Of programs for devices: `count` words that kernels set where they find an index out of range. They stay set until
 * their sentences were shown, which is when the run, or a later one, is known to be done. NULL as above. */
int *castoff_frame_faults(castoff_frame *frame, int count);
/* Has the words read when the stream gets there; `messages` live as long as the program. */
int castoff_frame_report_faults(castoff_frame *frame, int count, const char *const *messages);

/* Sets the sentence that last_error() will show and returns `status`. Not from inside a parallel loop. */
int castoff_fail(castoff_frame *frame, int status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* An input as resolve() sees it: its rank and dtype are already those of its spec, static sizes match. */
typedef struct castoff_input_view {
  const void *data; /* readable as a value only for inputs flagged CASTOFF_SCALAR */
  const int64_t *shape;
} castoff_input_view;

typedef struct castoff_program {
  uint32_t abi_version; /* CASTOFF_ABI_VERSION */
  const char *name;

  int32_t n_inputs;
  const castoff_tensor_spec *inputs;
  int32_t n_outputs;
  const castoff_tensor_spec *outputs;
  int32_t n_constants;
  const castoff_constant_spec *constants;
  int32_t n_buffers;
  const castoff_buffer_spec *buffers;
  int32_t n_symbols;
  /* Size of the weights the file has to carry; 0 where there are none. */
  uint64_t weights_size_bytes;
  /* CASTOFF_FEATURE_* bits (castoff_cpu.h) that run[CASTOFF_LEVEL_NATIVE] needs: CASTOFF_COMPILED_FEATURES of that unit.
   * NULL where that level was not built. */
  const uint64_t *native_features;

  /* CASTOFF_DEVICE_CUDA, else 0: a CPU. */
  int32_t device_type;
  /* GPUs there is machine code for, as nvcc numbers them (90: sm_90), ascending, ended by 0; those from `cuda_ptx` on
   * are served by its PTX. */
  const int *cuda_architectures;
  int cuda_ptx;
  /* Opens what the program needs beside the driver: 0, or 1 with a sentence in `error`; NULL where that is nothing. */
  int (*open_libraries)(char *error, size_t error_size);

  /* Binds symbols and checks derived sizes and guards; NULL where there is nothing to do. Dimensions that are a plain
   * symbol were bound, compared with each other and held to their range before; symbols not bound that way hold
   * INT64_MIN. Returns CASTOFF_OK, or CASTOFF_INPUT_MISMATCH with a sentence in `error`. */
  int (*resolve)(const castoff_input_view *inputs, int64_t *symbols, char *error, size_t error_size);
  /* NULL: no arena. */
  size_t (*arena_bytes)(const int64_t *symbols);
  /* Writes the sizes of an output, -1 for those that depend on data; NULL where every output is static or scalar. */
  void (*output_shape)(const int64_t *symbols, int output, int64_t *shape);
  /* Returns CASTOFF_OK, or what castoff_fail() returned. NULL where a level was not built. */
  int (*run[CASTOFF_LEVEL_COUNT])(castoff_frame *frame);
} castoff_program;

extern const castoff_program castoff_program_definition;

#ifdef __cplusplus
}
#endif
#endif
