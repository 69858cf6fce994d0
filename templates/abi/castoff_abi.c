/* castoff_abi.c: the exported symbol, the life of instances, and what happens at load, fork and unload. */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "castoff_cpu.h"
#include "castoff_instance.h"

#if defined(__GNUC__)
#define CASTOFF_EXPORT __attribute__((visibility("default")))
#else
#define CASTOFF_EXPORT
#endif

/* The layout that other compilers, and castoff's Python runtime, take for granted. */
_Static_assert(sizeof(void *) == 8, "castoff's C border is for 64-bit processes");
_Static_assert(sizeof(DLTensor) == 48 && offsetof(DLTensor, shape) == 24, "DLTensor is a fixed layout");
_Static_assert(offsetof(DLTensor, dtype) == 20 && offsetof(DLTensor, byte_offset) == 40, "DLTensor is a fixed layout");
_Static_assert(sizeof(castoff_dim) == 40 && offsetof(castoff_dim, text) == 32, "castoff_dim is a fixed layout");
_Static_assert(sizeof(castoff_tensor_spec) == 40 && offsetof(castoff_tensor_spec, dims) == 24, "fixed layout");
_Static_assert(sizeof(castoff_constant_spec) == 48 && offsetof(castoff_constant_spec, offset_bytes) == 24, "fixed layout");
_Static_assert(sizeof(castoff_buffer_spec) == 40 && offsetof(castoff_buffer_spec, size_bytes) == 24, "fixed layout");
_Static_assert(sizeof(castoff_options) == 24 && offsetof(castoff_options, constants) == 8, "fixed layout");
_Static_assert(sizeof(castoff_call) == 40 && offsetof(castoff_call, allocate) == 24, "castoff_call is a fixed layout");
_Static_assert(sizeof(castoff_status) == 4, "castoff_status is an int");
_Static_assert(offsetof(castoff_api, run) == 88, "functions of castoff_api keep their place");
_Static_assert(sizeof(castoff_step) == 40 && offsetof(castoff_step, number) == 32, "castoff_step is a fixed layout");
_Static_assert(sizeof(castoff_api) == 264 && offsetof(castoff_api, device) == 192, "functions of castoff_api keep their place");

static const castoff_program *const program = &castoff_program_definition;

static castoff_image image;
static castoff_instance *instances;
static pthread_mutex_t instances_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- load, fork, unload ---- */

static void before_fork(void) { pthread_mutex_lock(&instances_lock); }

static void after_fork_in_parent(void) { pthread_mutex_unlock(&instances_lock); }

/* Other threads do not come along: what they held is free, what they were doing is forgotten. */
static void after_fork_in_child(void) {
  castoff_pool_after_fork();
  castoff_profile_after_fork();
  for (castoff_instance *instance = instances; instance; instance = instance->next) {
    pthread_mutex_init(&instance->constants_lock, NULL);
    pthread_mutex_init(&instance->buffers_lock, NULL);
    for (castoff_run_context *context = atomic_load(&instance->contexts); context; context = context->next) {
      atomic_store(&context->constants, NULL);
      atomic_store(&context->taken, 0);
      castoff_context_drop_blocks(context, 0);
    }
    castoff_device_after_fork(instance->device);
  }
  pthread_mutex_init(&instances_lock, NULL);
}

__attribute__((constructor)) static void on_load(void) {
  castoff_image_map(&image);
  pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}

/* Runs at exit too, when threads of the host may still be inside a run: what has an instance keeps its weights. */
__attribute__((destructor)) static void on_unload(void) {
  castoff_pool_stop();
  if (!instances) castoff_image_unmap(&image);
}

/* ---- instances ---- */

static castoff_status check_image(int has_constants) {
  if (program->abi_version >> 16 != CASTOFF_ABI_MAJOR)
    return castoff_refuse(CASTOFF_BAD_ARTEFACT, "the program was generated for ABI %u, the ABI layer is %d",
                          program->abi_version >> 16, CASTOFF_ABI_MAJOR);
  if (program->weights_size_bytes == 0 || has_constants) return CASTOFF_OK;
  if (image.error[0]) return castoff_refuse(CASTOFF_BAD_ARTEFACT, "%s", image.error);
  if (image.weights_size_bytes != program->weights_size_bytes)
    return castoff_refuse(CASTOFF_BAD_ARTEFACT, "expected %llu bytes of weights in the file, got %llu",
                          (unsigned long long)program->weights_size_bytes,
                          (unsigned long long)image.weights_size_bytes);
  return CASTOFF_OK;
}

static void list_levels(char *text, size_t size) {
  text[0] = '\0';
  for (int level = 0; level < CASTOFF_LEVEL_COUNT; level++) {
    if (!program->run[level]) continue;
    const size_t length = strlen(text);
    snprintf(text + length, size - length, "%s%s", length ? ", " : "", castoff_level_name(level));
  }
}

/* The best level that was built, fits the processor and is not above CASTOFF_CPU_LEVEL; -1 with the sentence set. */
static int choose_level(void) {
  const uint64_t features = castoff_cpu_features();
  const char *limit_name = getenv("CASTOFF_CPU_LEVEL");
  int limit = CASTOFF_LEVEL_COUNT - 1;
  if (limit_name && limit_name[0]) limit = castoff_level_of_name(limit_name);
  if (limit < 0) {
    castoff_refuse(CASTOFF_INVALID_ARGUMENT, "CASTOFF_CPU_LEVEL: expected %s, %s, %s, %s or %s, got %.80s",
                   castoff_level_name(0), castoff_level_name(1), castoff_level_name(2), castoff_level_name(3),
                   castoff_level_name(4), limit_name);
    return -1;
  }
  int best_offered = 0;
  for (int level = limit; level >= 0; level--) {
    if (!castoff_level_fits(level, features, program->native_features ? *program->native_features : 0)) continue;
    if (program->run[level]) return level;
    if (best_offered == 0 && level != CASTOFF_LEVEL_NATIVE) best_offered = level;
  }
  char built[128];
  list_levels(built, sizeof(built));
  castoff_refuse(CASTOFF_UNSUPPORTED_CPU,
                 "this artefact was built for %s, but this processor (as its kernel and CASTOFF_CPU_LEVEL leave it) "
                 "offers %s: compile it for that level too",
                 built, castoff_level_name(best_offered));
  return -1;
}

static void link_instance(castoff_instance *instance) {
  pthread_mutex_lock(&instances_lock);
  instance->next = instances;
  if (instances) instances->previous = instance;
  instances = instance;
  pthread_mutex_unlock(&instances_lock);
}

static void unlink_instance(castoff_instance *instance) {
  pthread_mutex_lock(&instances_lock);
  if (instance->next) instance->next->previous = instance->previous;
  if (instance->previous)
    instance->previous->next = instance->next;
  else
    instances = instance->next;
  pthread_mutex_unlock(&instances_lock);
}

/* What the caller's castoff_options, which may be older and shorter, say. */
static castoff_options options_of(const castoff_options *given) {
  castoff_options options = {.size_bytes = sizeof(options)};
  const size_t size = !given ? 0 : given->size_bytes < sizeof(options) ? given->size_bytes : sizeof(options);
  if (size > sizeof(options.size_bytes))
    memcpy((char *)&options + sizeof(options.size_bytes), (const char *)given + sizeof(options.size_bytes),
           size - sizeof(options.size_bytes));
  return options;
}

static castoff_status create_on_device(castoff_instance *instance, const castoff_options *options) {
  castoff_status status = castoff_device_open(program, options->device_id, options->flags, &instance->device);
  int previous = -1;
  if (status == CASTOFF_OK) status = castoff_device_enter(instance->device, &previous);
  if (status != CASTOFF_OK) return status;
  status = castoff_create_state(instance, &image, options->constants);
  if (status != CASTOFF_OK) castoff_free_state(instance);
  castoff_device_leave(previous);
  return status;
}

static castoff_status create(const castoff_options *given, castoff_instance **created) {
  if (!created) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected a place for the instance, got NULL");
  *created = NULL;
  const castoff_options options = options_of(given);
  if (options.threads < 0)
    return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "threads: expected 0 or more, got %d", options.threads);
  castoff_status status = check_image(options.constants != NULL);
  if (status != CASTOFF_OK) return status;
  const int level = choose_level();
  if (level < 0) return CASTOFF_UNSUPPORTED_CPU;
  castoff_instance *instance = calloc(1, sizeof(*instance));
  if (!instance) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory for an instance");
  instance->program = program;
  instance->level = level;
  instance->pool.threads = castoff_pool_choose_threads(options.threads);
  pthread_mutex_init(&instance->constants_lock, NULL);
  pthread_mutex_init(&instance->buffers_lock, NULL);
  status = create_on_device(instance, &options);
  if (status != CASTOFF_OK) {
    castoff_device_close(instance->device);
    free(instance);
    return status;
  }
  link_instance(instance);
  *created = instance;
  return CASTOFF_OK;
}

static void destroy(castoff_instance *instance) {
  if (!instance) return;
  unlink_instance(instance);
  int previous = -1;
  const castoff_status entered = castoff_device_enter(instance->device, &previous);
  castoff_free_contexts(instance);
  castoff_free_state(instance);
  castoff_device_close(instance->device);
  if (entered == CASTOFF_OK) castoff_device_leave(previous);
  pthread_mutex_destroy(&instance->constants_lock);
  pthread_mutex_destroy(&instance->buffers_lock);
  free(instance);
}

static castoff_status order_streams(castoff_instance *instance, void *producer, void *consumer) {
  if (!instance) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance, got NULL");
  int previous = -1;
  castoff_status status = castoff_device_enter(instance->device, &previous);
  if (status != CASTOFF_OK) return status;
  status = castoff_device_order_streams(instance->device, producer, consumer);
  castoff_device_leave(previous);
  return status;
}

static castoff_status copy_to_host(castoff_instance *instance, const DLTensor *tensor, void *host, void *stream) {
  if (!instance || !tensor || (!host && !castoff_is_empty(tensor)))
    return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance, a tensor and memory, got NULL");
  int previous = -1;
  castoff_status status = castoff_device_accepts(instance->device, "", "tensor", tensor);
  if (status != CASTOFF_OK || (status = castoff_device_enter(instance->device, &previous)) != CASTOFF_OK) return status;
  status = castoff_device_copy_to_host(instance->device, host, tensor, stream);
  if (status == CASTOFF_OK) status = castoff_learn_of_runs(instance, stream);
  castoff_device_leave(previous);
  return status;
}

/* ---- the table ---- */

static const char *program_name(void) { return program->name; }
static const char *last_error(void) { return castoff_error_message(); }
static const char *cpu_level(const castoff_instance *instance) { return castoff_level_name(instance->level); }
static int32_t threads_of(const castoff_instance *instance) { return instance->pool.threads; }
static DLDevice device_of(const castoff_instance *instance) { return castoff_device_of(instance->device); }
static int32_t input_count(void) { return program->n_inputs; }
static int32_t output_count(void) { return program->n_outputs; }
static int32_t constant_count(void) { return program->n_constants; }
static int32_t buffer_count(void) { return program->n_buffers; }

static const castoff_tensor_spec *input(int32_t index) {
  return index >= 0 && index < program->n_inputs ? &program->inputs[index] : NULL;
}

static const castoff_tensor_spec *output(int32_t index) {
  return index >= 0 && index < program->n_outputs ? &program->outputs[index] : NULL;
}

static const castoff_constant_spec *constant(int32_t index) {
  return index >= 0 && index < program->n_constants ? &program->constants[index] : NULL;
}

static const castoff_buffer_spec *buffer(int32_t index) {
  return index >= 0 && index < program->n_buffers ? &program->buffers[index] : NULL;
}

static const castoff_api api = {
    .abi_version = CASTOFF_ABI_VERSION,
    .size_bytes = sizeof(castoff_api),
    .program_name = program_name,
    .last_error = last_error,
    .create = create,
    .destroy = destroy,
    .cpu_level = cpu_level,
    .threads = threads_of,
    .input_count = input_count,
    .output_count = output_count,
    .input = input,
    .output = output,
    .run = castoff_run,
    .output_shapes = castoff_output_shapes,
    .release = castoff_device_release,
    .constant_count = constant_count,
    .constant = constant,
    .read_constant = castoff_read_constant,
    .replace_constants = castoff_replace_constants,
    .buffer_count = buffer_count,
    .buffer = buffer,
    .read_buffer = castoff_read_buffer,
    .write_buffer = castoff_write_buffer,
    .reset_buffers = castoff_reset_buffers,
    .take_steps = castoff_take_steps,
    .device = device_of,
    .run_on_stream = castoff_run_on_stream,
    .synchronize = castoff_synchronize_runs,
    .release_on_stream = castoff_device_release_on_stream,
    .order_streams = order_streams,
    .copy_to_host = copy_to_host,
    .share = castoff_share,
    .lend = castoff_lend,
    .unshare = castoff_unshare,
};

CASTOFF_EXPORT const castoff_api *castoff_get_api(uint32_t abi_version) {
  const uint32_t major = abi_version >> 16, minor = abi_version & 0xffff;
  return major == CASTOFF_ABI_MAJOR && minor <= CASTOFF_ABI_MINOR ? &api : NULL;
}
