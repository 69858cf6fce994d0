/* castoff_state.c: the constants an instance reads and the buffers it keeps.
 *
 * Runs take no lock to read constants: a run publishes the set it is about to read in its context and checks that the
 * instance still has it. Whoever replaces constants publishes a new set first and then frees the old ones that no context
 * names (hazard pointers).
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "castoff_instance.h"

/* ---- sets of constants ---- */

static castoff_constants *new_set(int32_t count) {
  castoff_constants *set = calloc(1, sizeof(*set));
  if (!set) return NULL;
  set->values = calloc((size_t)count + 1, sizeof(*set->values));
  set->pointers = calloc((size_t)count + 1, sizeof(*set->pointers));
  static _Atomic uint64_t numbers;
  set->number = atomic_fetch_add(&numbers, 1);
  if (set->values && set->pointers) return set;
  free(set->values);
  free(set->pointers);
  free(set);
  return NULL;
}

static void drop_value(castoff_device *device, castoff_value *value) {
  if (!value || --value->references > 0) return;
  castoff_device_free(device, value->data);
  free(value);
}

static void free_set(castoff_instance *instance, castoff_constants *set) {
  if (!set) return;
  for (int32_t i = 0; i < instance->program->n_constants; i++) drop_value(instance->device, set->values[i]);
  free(set->values);
  free(set->pointers);
  free(set);
}

castoff_constants *castoff_pin_constants(castoff_instance *instance, castoff_run_context *context) {
  for (;;) {
    castoff_constants *set = atomic_load(&instance->constants);
    atomic_store(&context->constants, set);
    if (atomic_load(&instance->constants) == set) return set;
  }
}

void castoff_unpin_constants(castoff_run_context *context) {
  atomic_store_explicit(&context->constants, NULL, memory_order_release);
}

static int is_pinned(castoff_instance *instance, const castoff_constants *set) {
  for (castoff_run_context *context = atomic_load(&instance->contexts); context; context = context->next)
    if (atomic_load(&context->constants) == set) return 1;
  return 0;
}

static void free_retired(castoff_instance *instance) {
  castoff_constants **link = &instance->retired;
  while (*link) {
    castoff_constants *set = *link;
    if (is_pinned(instance, set)) {
      link = &set->next_retired;
      continue;
    }
    *link = set->next_retired;
    free_set(instance, set);
  }
}

static int find_constant(const castoff_program *program, const char *name) {
  for (int i = 0; name && i < program->n_constants; i++)
    if (strcmp(program->constants[i].name, name) == 0) return i;
  castoff_refuse(CASTOFF_INVALID_ARGUMENT, "there is no constant named %s", name ? name : "NULL");
  return -1;
}

castoff_status castoff_read_constant(castoff_instance *instance, const char *name, const DLTensor *value) {
  if (!instance) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance, got NULL");
  const castoff_program *program = instance->program;
  const int index = find_constant(program, name);
  if (index < 0) return CASTOFF_INVALID_ARGUMENT;
  const castoff_constant_spec *spec = &program->constants[index];
  castoff_device *device = instance->device;
  castoff_status status = castoff_check_tensor(device, "constant ", name, value, spec->dtype, spec->rank, spec->sizes);
  int previous = -1;
  if (status != CASTOFF_OK || (status = castoff_device_enter(device, &previous)) != CASTOFF_OK) return status;
  pthread_mutex_lock(&instance->constants_lock);
  status = castoff_device_scatter(device, NULL, value, atomic_load(&instance->constants)->pointers[index]);
  pthread_mutex_unlock(&instance->constants_lock);
  castoff_device_leave(previous);
  return status;
}

static castoff_status put_value(castoff_instance *instance, castoff_constants *set, const char *name,
                                const DLTensor *tensor) {
  const int index = find_constant(instance->program, name);
  if (index < 0) return CASTOFF_INVALID_ARGUMENT;
  const castoff_constant_spec *spec = &instance->program->constants[index];
  if (!(spec->flags & CASTOFF_REPLACEABLE))
    return castoff_refuse(CASTOFF_NOT_REPLACEABLE,
                          "constant %s was folded or packed for the kernels when this artefact was built: compile again",
                          name);
  castoff_device *device = instance->device;
  castoff_status status = castoff_check_tensor(device, "constant ", name, tensor, spec->dtype, spec->rank, spec->sizes);
  if (status != CASTOFF_OK) return status;
  castoff_value *value = calloc(1, sizeof(*value));
  if (value) value->data = castoff_device_allocate(device, (size_t)spec->size_bytes);
  if (!value || !value->data) {
    char what[256];
    snprintf(what, sizeof(what), "for constant %s", name);
    free(value);
    return castoff_device_no_memory(device, (size_t)spec->size_bytes, what);
  }
  value->references = 1;
  drop_value(device, set->values[index]);
  set->values[index] = value;
  set->pointers[index] = value->data;
  return castoff_device_gather(device, NULL, value->data, tensor);
}

static castoff_constants *copy_of_current(castoff_instance *instance) {
  const int32_t count = instance->program->n_constants;
  const castoff_constants *current = atomic_load(&instance->constants);
  castoff_constants *set = new_set(count);
  for (int32_t i = 0; set && i < count; i++) {
    set->pointers[i] = current->pointers[i];
    set->values[i] = current->values[i];
    if (set->values[i]) set->values[i]->references++;
  }
  return set;
}

static castoff_status replace_locked(castoff_instance *instance, int32_t count, const char *const *names,
                                     const DLTensor *const *values) {
  castoff_constants *set = copy_of_current(instance);
  if (!set) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory for a set of constants");
  for (int32_t i = 0; i < count; i++) {
    const castoff_status status = put_value(instance, set, names[i], values[i]);
    if (status == CASTOFF_OK) continue;
    free_set(instance, set);
    return status;
  }
  castoff_constants *before = atomic_exchange(&instance->constants, set);
  before->next_retired = instance->retired;
  instance->retired = before;
  free_retired(instance);
  return CASTOFF_OK;
}

castoff_status castoff_replace_constants(castoff_instance *instance, int32_t count, const char *const *names,
                                         const DLTensor *const *values) {
  if (!instance || count < 0 || (count > 0 && (!names || !values)))
    return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance, names and values, got NULL");
  int previous = -1;
  castoff_status status = castoff_device_enter(instance->device, &previous);
  if (status != CASTOFF_OK) return status;
  pthread_mutex_lock(&instance->constants_lock);
  status = replace_locked(instance, count, names, values);
  pthread_mutex_unlock(&instance->constants_lock);
  castoff_device_leave(previous);
  return status;
}

/* ---- buffers ---- */

static int find_buffer(const castoff_program *program, const char *name) {
  for (int i = 0; name && i < program->n_buffers; i++)
    if (strcmp(program->buffers[i].name, name) == 0) return i;
  castoff_refuse(CASTOFF_INVALID_ARGUMENT, "there is no buffer named %s", name ? name : "NULL");
  return -1;
}

static castoff_status access_buffer(castoff_instance *instance, const char *name, const DLTensor *value, int write) {
  if (!instance) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance, got NULL");
  const int index = find_buffer(instance->program, name);
  if (index < 0) return CASTOFF_INVALID_ARGUMENT;
  const castoff_buffer_spec *spec = &instance->program->buffers[index];
  castoff_device *device = instance->device;
  castoff_status status = castoff_check_tensor(device, "buffer ", name, value, spec->dtype, spec->rank, spec->sizes);
  int previous = -1;
  if (status != CASTOFF_OK || (status = castoff_device_enter(device, &previous)) != CASTOFF_OK) return status;
  pthread_mutex_lock(&instance->buffers_lock);
  status = castoff_device_take_buffers(device, NULL);
  if (status == CASTOFF_OK)
    status = write ? castoff_device_gather(device, NULL, instance->buffers[index], value)
                   : castoff_device_scatter(device, NULL, value, instance->buffers[index]);
  pthread_mutex_unlock(&instance->buffers_lock);
  castoff_device_leave(previous);
  return status;
}

castoff_status castoff_read_buffer(castoff_instance *instance, const char *name, const DLTensor *value) {
  return access_buffer(instance, name, value, 0);
}

castoff_status castoff_write_buffer(castoff_instance *instance, const char *name, const DLTensor *value) {
  return access_buffer(instance, name, value, 1);
}

/* From the file, whatever replaced that constant since. */
static const void *initial_value(const castoff_instance *instance, int index) {
  const int32_t constant = instance->program->buffers[index].initial_constant;
  return constant < 0 ? NULL : instance->built_constants[constant];
}

/* ---- the state of an instance ---- */

castoff_status castoff_reset_buffers(castoff_instance *instance) {
  if (!instance) return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "expected an instance, got NULL");
  castoff_device *device = instance->device;
  int previous = -1;
  castoff_status status = castoff_device_enter(device, &previous);
  if (status != CASTOFF_OK) return status;
  pthread_mutex_lock(&instance->buffers_lock);
  status = castoff_device_take_buffers(device, NULL);
  for (int i = 0; i < instance->program->n_buffers && status == CASTOFF_OK; i++)
    status = castoff_device_copy(device, instance->buffers[i], initial_value(instance, i),
                                 (size_t)instance->program->buffers[i].size_bytes);
  pthread_mutex_unlock(&instance->buffers_lock);
  castoff_device_leave(previous);
  return status;
}

/* In device memory; NULL where a constant is empty: memory of no size has no address here. */
static castoff_status find_constants(castoff_instance *instance, const castoff_image *image,
                                     const void *const *constants) {
  const castoff_program *program = instance->program;
  for (int i = 0; i < program->n_constants; i++) {
    const castoff_constant_spec *spec = &program->constants[i];
    const void *address = constants ? constants[i] : image->weights + spec->offset_bytes;
    if (spec->size_bytes > 0 && (!address || (uintptr_t)address % CASTOFF_ALIGNMENT != 0))
      return castoff_refuse(CASTOFF_INVALID_ARGUMENT, "constant %s: expected an address that is a multiple of %d, got %p",
                            spec->name, CASTOFF_ALIGNMENT, address);
  }
  const castoff_status status =
      castoff_device_constants(instance->device, program, image, constants, instance->built_constants);
  for (int i = 0; i < program->n_constants; i++)
    if (program->constants[i].size_bytes == 0) instance->built_constants[i] = NULL;
  return status;
}

castoff_status castoff_create_state(castoff_instance *instance, const castoff_image *image,
                                    const void *const *constants) {
  const castoff_program *program = instance->program;
  instance->built_constants = calloc((size_t)program->n_constants + 1, sizeof(void *));
  castoff_constants *set = instance->built_constants ? new_set(program->n_constants) : NULL;
  if (!set) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory for the table of constants");
  atomic_store(&instance->constants, set);
  const castoff_status found = find_constants(instance, image, constants);
  if (found != CASTOFF_OK) return found;
  for (int i = 0; i < program->n_constants; i++) set->pointers[i] = instance->built_constants[i];
  instance->buffers = calloc((size_t)program->n_buffers + 1, sizeof(void *));
  if (!instance->buffers) return castoff_refuse(CASTOFF_OUT_OF_MEMORY, "out of memory for the table of buffers");
  for (int i = 0; i < program->n_buffers; i++) {
    const castoff_buffer_spec *spec = &program->buffers[i];
    instance->buffers[i] = castoff_device_allocate(instance->device, (size_t)spec->size_bytes);
    if (!instance->buffers[i]) {
      char what[256];
      snprintf(what, sizeof(what), "for buffer %s", spec->name);
      return castoff_device_no_memory(instance->device, (size_t)spec->size_bytes, what);
    }
    const castoff_status status = castoff_device_copy(instance->device, instance->buffers[i],
                                                      initial_value(instance, i), (size_t)spec->size_bytes);
    if (status != CASTOFF_OK) return status;
  }
  return CASTOFF_OK;
}

void castoff_free_state(castoff_instance *instance) {
  while (instance->retired) {
    castoff_constants *next = instance->retired->next_retired;
    free_set(instance, instance->retired);
    instance->retired = next;
  }
  free_set(instance, atomic_exchange(&instance->constants, NULL));
  free(instance->built_constants);
  for (int i = 0; instance->buffers && i < instance->program->n_buffers; i++)
    castoff_device_free(instance->device, instance->buffers[i]);
  free(instance->buffers);
  instance->buffers = NULL;
}
