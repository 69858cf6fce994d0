// The products of tensor cores.
#include "mma.h"

namespace emulation {
namespace {

template <typename Sum, typename T> void product(T* d, const T* a, const T* b, const T* c, int m, int n, int k)
{
    Sum sums[64];
    for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) sums[j] = c[i * n + j];
        for (int l = 0; l < k; l++) {
            Sum factor = a[i * k + l];
            for (int j = 0; j < n; j++) sums[j] += factor * static_cast<Sum>(b[l * n + j]);
        }
        for (int j = 0; j < n; j++) d[i * n + j] = static_cast<T>(sums[j]);
    }
}

}  // namespace

void multiply(float* d, const float* a, const float* b, const float* c, int m, int n, int k)
{
    product<double>(d, a, b, c, m, n, k);
}
void multiply(double* d, const double* a, const double* b, const double* c, int m, int n, int k)
{
    product<double>(d, a, b, c, m, n, k);
}
void multiply(int* d, const int* a, const int* b, const int* c, int m, int n, int k)
{
    product<unsigned>(d, a, b, c, m, n, k);
}

}  // namespace emulation
