// half and bfloat16: conversions and arithmetic round once, to nearest even.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "check.h"

__global__ void compute(const float* x, unsigned short* half_bits, unsigned short* bfloat_bits, float* values)
{
    int i = threadIdx.x;
    __half h = __float2half(x[i]);
    __nv_bfloat16 b = __float2bfloat16(x[i]);
    half_bits[i] = __half_as_ushort(h);
    bfloat_bits[i] = __bfloat16_as_ushort(b);
    if (i == 0) {
        __half third = __float2half_rn(1.0f / 3), ten = __ushort_as_half(0x4900);
        values[0] = __half2float(__hmul(third, ten));
        values[1] = __half2float(__hfma(third, ten, __float2half(-3.333f)));
        values[2] = __half2float(third + ten);
        values[3] = __bfloat162float(__hadd(__float2bfloat16(256.0f), __float2bfloat16(1.0f)));
        values[4] = __bfloat162float(__hfma(__float2bfloat16(3.0f), __float2bfloat16(1.171875f), __float2bfloat16(0.01f)));
        half2 pair = __hadd2(__floats2half2_rn(1.5f, -2.0f), __float2half2_rn(0.25f));
        values[5] = __low2float(pair);
        values[6] = __high2float(pair);
        values[7] = static_cast<float>(__hmax(__float2half(-1.0f), __float2half(NAN)));
        values[8] = __hisnan(__float2half(NAN)) ? 1.0f : 0.0f;
        values[9] = static_cast<float>(hsqrt(__float2half(2.0f)));
        values[10] = __hgt(third, ten) ? 1.0f : 0.0f;
        float2 both = __bfloat1622float2(__floats2bfloat162_rn(1.00390625f, 3.0f));
        values[11] = both.x + both.y;
        __half sum = __float2half(2048.0f);
        atomicAdd(&sum, __float2half(1.0f));
        values[12] = __half2float(sum);
    }
}

int main()
{
    const std::vector<float> x = {0.0f, -0.0f, 1.0f, 65504.0f, 65519.0f, 65520.0f, 5.9604645e-8f, 2.9802322e-8f,
                                  2.9802326e-8f, 6.1035156e-5f, 1.00048828125f, 1.00146484375f, INFINITY, -INFINITY,
                                  3.4e38f, 1.00390625f, 1.01171875f};
    const unsigned short halves[] = {0, 0x8000, 0x3c00, 0x7bff, 0x7bff, 0x7c00, 1, 0, 1, 0x0400, 0x3c00, 0x3c02, 0x7c00,
                                     0xfc00, 0x7c00, 0x3c04, 0x3c0c};
    const unsigned short bfloats[] = {0, 0x8000, 0x3f80, 0x4780, 0x4780, 0x4780, 0x3380, 0x3300, 0x3300, 0x3880, 0x3f80,
                                      0x3f80, 0x7f80, 0xff80, 0x7f80, 0x3f80, 0x3f82};
    const int n = static_cast<int>(x.size());
    float* input = to_device(x);
    unsigned short* half_bits = to_device(std::vector<unsigned short>(n, 0));
    unsigned short* bfloat_bits = to_device(std::vector<unsigned short>(n, 0));
    float* values = to_device(std::vector<float>(13, 0.0f));
    auto config = launch_of(1, n);
    SUCCEED(cudaLaunchKernelEx(&config, compute, input, half_bits, bfloat_bits, values));
    auto got_halves = to_host(half_bits, n), got_bfloats = to_host(bfloat_bits, n);
    for (int i = 0; i < n; i++) {
        EXPECT(got_halves[i] == halves[i]);
        EXPECT(got_bfloats[i] == bfloats[i]);
    }
    const float expected[13] = {3.33203125f, 0.00048828125f, 10.3359375f, 256.0f, 3.53125f, 1.75f,
                                -1.75f, -1.0f, 1.0f, 1.4140625f, 0.0f, 4.0f, 2048.0f};
    auto got = to_host(values, 13);
    for (int i = 0; i < 13; i++) {
        if (got[i] != expected[i]) fprintf(stderr, "values[%d]: %.9g, expected %.9g\n", i, got[i], expected[i]);
    }
    for (int i = 0; i < 13; i++) EXPECT(got[i] == expected[i]);
    return 0;
}
