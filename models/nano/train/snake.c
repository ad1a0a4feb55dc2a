/* BigVGAN's anti-aliased SnakeBeta, forward and backward, a row (one channel of one item) at a time.
 *
 * The class runs it as two grouped convolutions over whole tensors, which spends nine tenths of a small vocoder's
 * training step on memory traffic. Here a row stays in the cache: up to two phases (E: even, O: odd samples of the
 * doubled rate) by six taps each, u + sin(a u)^2 / b, and down again by six taps of each phase. Ends are replicated.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TAPS 6

/* x [t] -> p [t + 6], ends repeated three times. */
static void pad_row(const float *x, float *p, long t) {
    for (int i = 0; i < 3; i++) p[i] = x[0], p[t + 3 + i] = x[t - 1];
    memcpy(p + 3, x, sizeof(float) * t);
}

/* p [t + 6] -> even and odd phases [t] of the doubled rate, before the activation. */
static void up(const float *restrict p, float *restrict e, float *restrict o, long t, const float *f) {
    for (long n = 0; n < t; n++) {
        float a = 0, b = 0;
        for (int q = 0; q < TAPS; q++) a += f[11 - 2 * q] * p[n + q], b += f[10 - 2 * q] * p[n + q + 1];
        e[n] = 2 * a, o[n] = 2 * b;
    }
}

void snake_forward(const float *x, const float *alpha, const float *beta, const float *f, float *z,
                   long rows, long channels, long t) {
    float *p = malloc(sizeof(float) * 5 * (t + 16)), *e = p + t + 16, *o = e + t + 16;
    for (long r = 0; r < rows; r++) {
        const float a = expf(alpha[r % channels]), ib = 1.0f / (expf(beta[r % channels]) + 1e-9f);
        pad_row(x + r * t, p, t);
        up(p, e + 2, o + 3, t, f);
        for (long n = 2; n < t + 2; n++) { float s = sinf(a * e[n]); e[n] += ib * s * s; }
        for (long n = 3; n < t + 3; n++) { float s = sinf(a * o[n]); o[n] += ib * s * s; }
        e[0] = e[1] = o[0] = o[1] = o[2] = e[2];
        e[t + 2] = e[t + 3] = e[t + 4] = o[t + 3] = o[t + 4] = o[t + 2];
        float *restrict out = z + r * t;
        for (long n = 0; n < t; n++) {
            float s = 0;
            for (int i = 0; i < TAPS; i++) s += f[1 + 2 * i] * e[n + i] + f[2 * i] * o[n + i];
            out[n] = s;
        }
    }
    free(p);
}

/* Adds one phase's share: g is d loss / d activation and becomes d loss / d input; u is the input. */
static void phase_back(const float *restrict u, float *restrict g, long t, float a, float ib, float *ga, float *gb) {
    float sum_a = 0, sum_b = 0;
    for (long n = 0; n < t; n++) {
        const float w = 2 * a * u[n], s = sinf(w), c = sinf(0.5f * w);
        sum_a += g[n] * u[n] * s, sum_b += g[n] * c * c;
        g[n] *= 1 + ib * a * s;
    }
    *ga += a * ib * sum_a, *gb += ib * ib * sum_b;
}

void snake_backward(const float *x, const float *alpha, const float *beta, const float *f, const float *gz, float *gx,
                    float *galpha, float *gbeta, long rows, long channels, long t) {
    const long w = t + 32;
    float *p = calloc(6 * w, sizeof(float)), *e = p + w, *o = e + w, *ge = o + w, *go = ge + w, *gp = go + w;
    for (long r = 0; r < rows; r++) {
        const long c = r % channels;
        const float eb = expf(beta[c]), a = expf(alpha[c]), ib = 1.0f / (eb + 1e-9f);
        pad_row(x + r * t, p, t);
        up(p, e, o, t, f);
        memset(gp, 0, sizeof(float) * w);
        memset(ge, 0, sizeof(float) * 2 * w);
        memcpy(gp + 5, gz + r * t, sizeof(float) * t);
        /* 6 zeros stand before each phase's own gradient, for the last loop. */
        float *restrict de = ge + 6, *restrict dother = go + 6;
        for (long m = 0; m < t + 5; m++) {
            float ve = 0, vo = 0;
            for (int i = 0; i < TAPS; i++) ve += f[1 + 2 * i] * gp[m - i + 5], vo += f[2 * i] * gp[m - i + 5];
            de[m - 2] = ve, dother[m - 3] = vo;
        }
        /* What fell on the repeated ends belongs to the first even and the last odd sample. */
        const float head = de[-2] + de[-1] + dother[-3] + dother[-2] + dother[-1];
        const float tail = de[t] + de[t + 1] + de[t + 2] + dother[t] + dother[t + 1];
        de[-2] = de[-1] = dother[-3] = dother[-2] = dother[-1] = 0;
        de[t] = de[t + 1] = de[t + 2] = dother[t] = dother[t + 1] = 0;
        de[0] += head, dother[t - 1] += tail;
        float gb = 0;
        phase_back(e, de, t, a, ib, galpha + c, &gb);
        phase_back(o, dother, t, a, ib, galpha + c, &gb);
        gbeta[c] -= gb * eb;
        for (long k = 0; k < t + 6; k++) {
            float s = 0;
            for (int q = 0; q < TAPS; q++) s += f[11 - 2 * q] * de[k - q] + f[10 - 2 * q] * dother[k - q - 1];
            gp[k] = 2 * s;
        }
        float *out = gx + r * t;
        memcpy(out, gp + 3, sizeof(float) * t);
        for (int i = 0; i < 3; i++) out[0] += gp[i], out[t - 1] += gp[t + 3 + i];
    }
    free(p);
}
