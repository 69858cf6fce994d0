/* castoff.h: the C border of a castoff artefact.
 *
 * An artefact is one shared library that exports one symbol, castoff_get_api(). Ask it for the table of functions of
 * the version this header describes:
 *
 *     const castoff_api *api = castoff_get_api(CASTOFF_ABI_VERSION);   NULL: the artefact is older than this header
 *     castoff_instance *instance = NULL;
 *     if (api->create(NULL, &instance) != CASTOFF_OK) { puts(api->last_error()); ... }
 *
 *     castoff_call call = {.n_inputs = 1, .n_outputs = 1, .inputs = inputs, .outputs = outputs};
 *     if (api->run(instance, &call) != CASTOFF_OK) { puts(api->last_error()); ... }
 *     api->destroy(instance);
 *
 * Any number of threads may run one instance at once. Programs that keep mutable buffers run one call of an instance
 * at a time; others take no lock. Nothing is thrown; every refusal leaves the instance usable.
 *
 * Environment: CASTOFF_CPU_LEVEL (x86-64, x86-64-v3, x86-64-v4, x86-64-bf16, x86-64-amx, native) keeps the artefact from using a
 * higher level; OMP_NUM_THREADS is the number of threads where the options name none. Both are read by create().
 *
 * Programs for CUDA (device() says so) take tensors in the memory of their GPU as they are, DLDevice {2, device_id}, and
 * copy those that lie on the host there and back. run() returns when results are there; run_on_stream() only enqueues
 * what can be, after what the caller's stream holds. An output given without data is made in the GPU's memory where its
 * device says {2, device_id}, else in the host's. An index that is out of range is found when results are: by run(), by
 * synchronize(), or by a later run. After a CUDA error that a process cannot recover from, every call is refused.
 *
 * The parts between "cffi begin" and "cffi end" are read by castoff's Python runtime too: plain declarations only.
 */
#ifndef CASTOFF_H
#define CASTOFF_H

#include <stddef.h>
#include <stdint.h>

/* Major versions do not understand each other; a minor version only adds at the end of castoff_api. */
#define CASTOFF_ABI_MAJOR 1
#define CASTOFF_ABI_MINOR 1
#define CASTOFF_ABI_VERSION ((uint32_t)CASTOFF_ABI_MAJOR << 16 | (uint32_t)CASTOFF_ABI_MINOR)

#ifdef __cplusplus
extern "C" {
#endif

/* DLPack's own header, where it is wanted as well, has to be included first. */
#ifndef DLPACK_DLPACK_H_
/* [cffi begin] */
typedef struct {
  int32_t device_type; /* 1: CPU, 2: CUDA */
  int32_t device_id;
} DLDevice;

typedef struct {
  uint8_t code; /* 0 int, 1 uint, 2 float, 4 bfloat, 5 complex, 6 bool, 10 float8_e4m3fn, 12 float8_e5m2, ... */
  uint8_t bits; /* of one element */
  uint16_t lanes; /* always 1 here */
} DLDataType;

typedef struct {
  void *data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape;
  int64_t *strides; /* in elements; NULL: C-contiguous */
  uint64_t byte_offset;
} DLTensor;
/* [cffi end] */
#endif

/* [cffi begin] */
typedef enum castoff_status {
  CASTOFF_OK = 0,
  CASTOFF_INVALID_ARGUMENT = 1, /* a NULL, a wrong count, an index or a name that is not there */
  CASTOFF_INPUT_MISMATCH = 2,   /* dtype, rank, size, range or guard; nothing ran */
  CASTOFF_OUT_OF_MEMORY = 3,
  CASTOFF_UNSUPPORTED_CPU = 4,  /* no level in the artefact fits this processor and kernel */
  CASTOFF_BAD_ARTEFACT = 5,     /* the file behind the library lost its weights, or changed */
  CASTOFF_RUNTIME_ERROR = 6,    /* the program itself refused: an assertion, an index out of range */
  CASTOFF_NOT_REPLACEABLE = 7,  /* the constant was folded or packed for the kernels at build time */
  CASTOFF_DEVICE_ERROR = 8,     /* CUDA failed; or a call on a device that did before */
  CASTOFF_UNSUPPORTED_DEVICE = 9 /* no driver, too old a one, no such GPU, or no code for it in the artefact */
} castoff_status;

typedef enum castoff_tensor_flags {
  CASTOFF_SCALAR = 1,        /* a Python int (int64), float (float64) or bool, passed as a tensor of rank 0 */
  CASTOFF_MUTATED = 2,       /* an input that the program writes to */
  CASTOFF_DATA_DEPENDENT = 4 /* an output whose sizes are known only once the program ran */
} castoff_tensor_flags;

typedef struct castoff_dim {
  int64_t size;     /* >= 0 where static, -1 where symbolic */
  int32_t symbol;   /* index of the symbol this dimension is, or -1: static, or an expression */
  int32_t reserved;
  int64_t min;      /* enforced range of a symbolic dimension */
  int64_t max;      /* INT64_MAX: unbounded */
  const char *text; /* "batch", "2*seq + 1"; NULL where static */
} castoff_dim;

typedef struct castoff_tensor_spec {
  const char *name; /* the name in the source program: "x" */
  const char *path; /* where the caller finds it: "args[0]", "kwargs['mask']", "result[1]" */
  DLDataType dtype;
  int32_t rank;
  const castoff_dim *dims; /* rank entries; NULL for rank 0 */
  uint32_t flags;          /* castoff_tensor_flags, or-ed */
  uint32_t reserved;
} castoff_tensor_spec;

typedef enum castoff_constant_flags {
  CASTOFF_REPLACEABLE = 1 /* held as the source program has it: dense, C-contiguous, used by value at run time */
} castoff_constant_flags;

typedef struct castoff_constant_spec {
  const char *name; /* qualified: "encoder.layers.0.weight" */
  DLDataType dtype;
  int32_t rank;
  const int64_t *sizes; /* rank entries */
  uint64_t offset_bytes; /* in the weights of the file; a multiple of 64 */
  uint64_t size_bytes;
  uint32_t flags; /* castoff_constant_flags, or-ed */
  uint32_t reserved;
} castoff_constant_spec;

typedef struct castoff_buffer_spec {
  const char *name; /* qualified: "cache.key" */
  DLDataType dtype;
  int32_t rank;
  const int64_t *sizes;
  uint64_t size_bytes;
  int32_t initial_constant; /* index of the constant it starts from; -1: zeros */
  int32_t reserved;
} castoff_buffer_spec;

typedef struct castoff_instance castoff_instance;

typedef struct castoff_options {
  uint32_t size_bytes; /* sizeof(castoff_options) of the caller */
  int32_t threads;     /* 0: OMP_NUM_THREADS, else the processors this process may use */
  /* For a host that keeps the weights elsewhere: where each constant lies, constant_count() addresses that are multiples
   * of 64 and stay valid as long as the instance; NULL for a constant of no size. NULL: the weights are in the file. */
  const void *const *constants;
  /* Since 1.1, for programs for CUDA. */
  int32_t device_id;
  uint32_t flags; /* castoff_option_flags, or-ed */
} castoff_options;

typedef enum castoff_option_flags {
  CASTOFF_STRICT_DEVICE = 1, /* tensors on the host are refused, not copied */
  CASTOFF_CUDA_GRAPHS = 2    /* what a run launches is recorded once per shape, and replayed */
} castoff_option_flags;

/* DLPack's DLManagedTensor. */
typedef struct castoff_managed_tensor {
  DLTensor dl_tensor;
  void *manager_ctx;
  void (*deleter)(struct castoff_managed_tensor *self);
} castoff_managed_tensor;

/* Called for each output given without data. Returns at least size_bytes, aligned to 64, or NULL to refuse. */
typedef void *(*castoff_allocate)(void *user, int32_t output, size_t size_bytes, int32_t rank, const int64_t *shape);

typedef struct castoff_call {
  int32_t n_inputs;
  int32_t n_outputs;
  DLTensor *const *inputs;
  /* Where data is NULL the artefact allocates, and sets data, dtype and strides; `shape` must always point to room for
   * `rank` sizes, and is read where data is given, written where not. */
  DLTensor *const *outputs;
  castoff_allocate allocate; /* NULL: 64-byte aligned memory, to be given back through release() */
  void *user;
} castoff_call;

/* What one step of a program did, in a program built with the option `profile`. */
typedef struct castoff_step {
  int64_t begin_ns; /* of a clock that never goes back */
  int64_t end_ns;
  int64_t size_bytes; /* what it has to read and write at least */
  int64_t operations; /* additions, multiplications and functions of floating-point elements */
  int32_t number;     /* which of the steps that the manifest lists */
  int32_t reserved;
} castoff_step;

typedef struct castoff_api {
  uint32_t abi_version;
  uint32_t size_bytes; /* of this table; a newer minor version has more of it */

  const char *(*program_name)(void);
  /* The message of the last refusal in this thread: one sentence, "" where there was none. */
  const char *(*last_error)(void);

  castoff_status (*create)(const castoff_options *options, castoff_instance **instance);
  void (*destroy)(castoff_instance *instance);
  const char *(*cpu_level)(const castoff_instance *instance);
  int32_t (*threads)(const castoff_instance *instance);

  int32_t (*input_count)(void);
  int32_t (*output_count)(void);
  const castoff_tensor_spec *(*input)(int32_t index);
  const castoff_tensor_spec *(*output)(int32_t index);

  castoff_status (*run)(castoff_instance *instance, const castoff_call *call);
  /* shapes[i] has room for the rank of output i; sizes that depend on data become -1. */
  castoff_status (*output_shapes)(castoff_instance *instance, int32_t n_inputs, DLTensor *const *inputs,
                                  int32_t n_outputs, int64_t *const *shapes);
  /* Gives back memory the artefact allocated for an output. On a GPU that waits for all that the GPU does, since nobody says
   * which streams use the memory: release_on_stream() and share() wait for nothing. */
  void (*release)(void *memory);

  int32_t (*constant_count)(void);
  const castoff_constant_spec *(*constant)(int32_t index);
  /* Copies into memory of the caller, which must be contiguous and have the constant's dtype and sizes. */
  castoff_status (*read_constant)(castoff_instance *instance, const char *name, const DLTensor *value);
  /* All or none; calls that already run finish with the old values. The values are copied. */
  castoff_status (*replace_constants)(castoff_instance *instance, int32_t count, const char *const *names,
                                      const DLTensor *const *values);

  int32_t (*buffer_count)(void);
  const castoff_buffer_spec *(*buffer)(int32_t index);
  castoff_status (*read_buffer)(castoff_instance *instance, const char *name, const DLTensor *value);
  castoff_status (*write_buffer)(castoff_instance *instance, const char *name, const DLTensor *value);
  /* Back to the values the program was saved with. */
  castoff_status (*reset_buffers)(castoff_instance *instance);

  /* Since 1.1. Moves out up to `capacity` of the steps that ran in this process since they were last taken, the oldest
   * first, and returns how many; the first 65536 are kept. Programs built without the option `profile` keep none. */
  int32_t (*take_steps)(castoff_step *steps, int32_t capacity);
  /* Since 1.1. {1, 0} or {2, device_id}. */
  DLDevice (*device)(const castoff_instance *instance);
  /* `stream` is a cudaStream_t of the instance's device: 0 or 1 the legacy default stream, 2 that of the thread. Host
   * memory of the call may be reused on return. As run() on CPUs. */
  castoff_status (*run_on_stream)(castoff_instance *instance, const castoff_call *call, void *stream);
  /* Waits for every run; refuses where one of them found an index out of range, or CUDA failed. */
  castoff_status (*synchronize)(castoff_instance *instance);
  /* Gives back memory the artefact allocated for an output, once what `stream` holds now is done with it; returns at once. */
  void (*release_on_stream)(void *memory, void *stream);
  /* What is enqueued on `consumer` from now on comes after what `producer` holds now. */
  castoff_status (*order_streams)(castoff_instance *instance, void *producer, void *consumer);
  /* A dense tensor of the device into host memory, once `stream` is there; returns when it is done. Refuses where a run on
   * the stream found an index out of range, which is then told. */
  castoff_status (*copy_to_host)(castoff_instance *instance, const DLTensor *tensor, void *host, void *stream);
  /* Memory the artefact allocated for an output with several owners: the handle is one, each tensor that is lent another.
   * The last one that lets go gives it back, as release_on_stream() does, after what the streams of all consumers hold
   * then; where one of them is recorded just then, with the next one that lets go. The streams live until then: CUDA
   * knows nothing of one that was destroyed. A consumer -1 works on a stream that the legacy default stream waits for. NULL
   * where there is no memory for that; share() releases the output's. */
  void *(*share)(void *memory, void *stream);
  castoff_managed_tensor *(*lend)(void *shared, const DLTensor *tensor, void *consumer);
  void (*unshare)(void *shared);
} castoff_api;

/* NULL where the major version differs or the minor one is newer than the artefact. */
const castoff_api *castoff_get_api(uint32_t abi_version);
/* [cffi end] */

#ifdef __cplusplus
}
#endif
#endif
