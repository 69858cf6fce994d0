/* castoff_internal.h: what the files of the ABI layer share. Generated code does not include it. */
#ifndef CASTOFF_INTERNAL_H
#define CASTOFF_INTERNAL_H

#include "castoff_program.h"

enum { CASTOFF_MAX_THREADS = 256, CASTOFF_ERROR_SIZE = 1024 };

/* ---- castoff_pool.c ---- */

struct castoff_pool {
  int threads;
};

/* `requested`, else OMP_NUM_THREADS, else the processors this process may use. */
int castoff_pool_choose_threads(int requested);
/* In the child, before anything else runs. */
void castoff_pool_after_fork(void);
/* Ends the workers; loops that come later run alone. */
void castoff_pool_stop(void);

/* ---- castoff_image.c ---- */

/* What lies behind the ELF image in the artefact's file. */
typedef struct castoff_image {
  const unsigned char *weights; /* NULL when empty */
  uint64_t weights_size_bytes;
  char error[CASTOFF_ERROR_SIZE]; /* "" or why there are no weights */
} castoff_image;

void castoff_image_map(castoff_image *image);
void castoff_image_unmap(castoff_image *image);

/* ---- castoff_profile.c ---- */

int32_t castoff_take_steps(castoff_step *steps, int32_t capacity);
/* In the child, before anything else runs: the steps of the parent are its own. */
void castoff_profile_after_fork(void);

/* ---- castoff_tensor.c ---- */

/* Sets the message of this thread and returns `status`. */
castoff_status castoff_refuse(castoff_status status, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 2, 3)))
#endif
    ;
char *castoff_error_message(void);

void *castoff_aligned_allocate(size_t size_bytes);

unsigned char *castoff_tensor_data(const DLTensor *tensor);
int castoff_is_empty(const DLTensor *tensor);
int castoff_is_contiguous(const DLTensor *tensor);
int castoff_is_aligned(const DLTensor *tensor);
/* Bytes of a dense tensor; 0 and `*overflow` = 1 where they cannot be counted. */
size_t castoff_dense_size(int32_t rank, const int64_t *shape, DLDataType dtype, int *overflow);
/* The addresses a tensor touches lie in [*begin, *end). */
void castoff_extent(const DLTensor *tensor, uintptr_t *begin, uintptr_t *end);
/* Dense memory from a strided tensor, and back. */
void castoff_gather(unsigned char *dense, const DLTensor *tensor);
void castoff_scatter(const DLTensor *tensor, const unsigned char *dense);

int castoff_same_dtype(DLDataType a, DLDataType b);
/* "float32[3, 4]" */
void castoff_format_tensor(char *text, size_t size, DLDataType dtype, int32_t rank, const int64_t *shape);

#endif
