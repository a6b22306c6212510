"""Writes golden.json: what other implementations make of the same numbers.

    pip install numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0
    python3 make_golden.py            # writes golden.json beside itself; same versions, same bytes

Every part holds its own inputs. Numbers have 12 significant digits; inputs are rounded *before* anything is computed from
them, so a test that reads them sees what was used here. Where statsmodels' conventions are not those of the textbook
(Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd edition, sections 8.2 and 8.3), the part's "note"
says so, and the textbook recursion, written out below, is checked against statsmodels before it is stored.
"""

import json
import pathlib

import numpy as np
from scipy import signal
from scipy.optimize import linprog
from statsmodels.regression.quantile_regression import QuantReg
from statsmodels.tsa.exponential_smoothing.ets import ETSModel
from statsmodels.tsa.holtwinters import ExponentialSmoothing, Holt
from statsmodels.tsa.stattools import acf


def rounded(values, digits=12):
    """The same values at so many significant digits, in plain lists of floats."""
    array = np.asarray(values, dtype=float)
    if array.ndim:
        return [rounded(value, digits) for value in array]
    return float(f"{float(array):.{digits}g}")


def given(values):
    """An input: rounded to 6 digits, to keep the file small, and computed from as rounded."""
    return np.array(rounded(values, 6))


def additive(series, alpha, beta, gamma, phi, level, trend, season, steps):
    """One-step values and forecasts of the textbook's additive, damped recursions:

        forecast  y(t+h|t) = l(t) + (phi + ... + phi^h) b(t) + s(t+h-m(k+1))
        level     l(t) = alpha (y(t) - s(t-m)) + (1 - alpha) (l(t-1) + phi b(t-1))
        trend     b(t) = beta* (l(t) - l(t-1)) + (1 - beta*) phi b(t-1)
        season    s(t) = gamma (y(t) - l(t-1) - phi b(t-1)) + (1 - gamma) s(t-m)

    `season` is s(-m+1) ... s(0), the one for the first observation first; empty for Holt's method.
    """
    season = list(season)
    m = len(season)
    fitted = []
    for t, y in enumerate(series):
        s = season[t] if m else 0.0
        base = level + phi * trend
        fitted.append(base + s)
        new = alpha * (y - s) + (1 - alpha) * base
        trend = beta * (new - level) + (1 - beta) * phi * trend
        level = new
        if m:
            season.append(gamma * (y - base) + (1 - gamma) * s)
    damping = np.cumsum(phi ** np.arange(1, steps + 1))
    ahead = [season[len(series) + h % m] if m else 0.0 for h in range(steps)]
    return np.array(fitted), level + damping * trend + np.array(ahead), (level, trend, season[len(series):])


def holt_winters(random):
    m, n, steps = 24, 216, 48
    t = np.arange(n)
    shape = 30 * np.sin(2 * np.pi * t / m) + 10 * np.cos(4 * np.pi * t / m)
    series = given(100 + 0.2 * t + shape + random.normal(0, 5, n))
    season = given(30 * np.sin(2 * np.pi * t[:m] / m))
    state = dict(level=98.0, trend=0.3)
    rate = dict(alpha=0.3, beta=0.05, gamma=0.2, phi=0.95)
    fitted, forecast, end = additive(series, **rate, **state, season=season, steps=steps)

    model = ExponentialSmoothing(
        series, trend="add", damped_trend=True, seasonal="add", seasonal_periods=m,
        initialization_method="known", initial_level=state["level"], initial_trend=state["trend"],
        initial_seasonal=season)
    with_rates = model.fit(
        smoothing_level=rate["alpha"], smoothing_trend=rate["beta"],
        smoothing_seasonal=rate["gamma"], damping_trend=rate["phi"], optimized=False)
    assert np.allclose(with_rates.fittedvalues, fitted, rtol=1e-12, atol=0), "fitted"
    # h = m, 2m, ... : ExponentialSmoothing repeats the last observation's season as it was a cycle before.
    stale = with_rates.forecast(steps)
    differs = np.arange(1, steps + 1) % m == 0
    assert np.allclose(stale[~differs], forecast[~differs], rtol=1e-12, atol=0), "forecast"
    assert not np.isclose(stale[differs], forecast[differs], rtol=1e-6).any(), "mended: store its forecast"
    # Its newer state space model does not; its beta is alpha beta*.
    states = ETSModel(
        series, error="add", trend="add", damped_trend=True, seasonal="add", seasonal_periods=m,
        initialization_method="known", initial_level=state["level"], initial_trend=state["trend"],
        initial_seasonal=season)
    smoothed = states.smooth([rate["alpha"], rate["alpha"] * rate["beta"], rate["gamma"], rate["phi"]])
    assert np.allclose(smoothed.fittedvalues, fitted, rtol=1e-12, atol=0), "fitted by states"
    assert np.allclose(smoothed.forecast(steps), forecast, rtol=1e-12, atol=0), "forecast by states"
    return {
        "note": "beta is the textbook's beta*, statsmodels' smoothing_trend. season[0] is that of the first observation. "
                "The season is updated from l(t-1) + phi b(t-1), not from l(t). forecast is ETSModel's, which is the "
                "textbook's; ExponentialSmoothing differs at h = 24 and 48 alone, where its season is a cycle too old.",
        "season_length": m, **rate, **state, "season": rounded(season), "series": rounded(series),
        "fitted": rounded(with_rates.fittedvalues), "forecast": rounded(smoothed.forecast(steps)),
        "end": {"level": rounded(end[0]), "trend": rounded(end[1]), "season": rounded(end[2])},
    }


def seasonal(random):
    m, n, steps = 24, 240, 36
    t = np.arange(n)
    shape = 20 * np.sin(2 * np.pi * t / m) + 8 * np.cos(6 * np.pi * t / m)
    series = given(80 + shape + np.cumsum(random.normal(0, 0.5, n)) + random.normal(0, 3, n))
    season = given(20 * np.sin(2 * np.pi * t[:m] / m))
    rate, level = dict(alpha=0.3, gamma=0.14), 80.0
    fitted, forecast, end = additive(series, **rate, beta=0.0, phi=1.0, level=level, trend=0.0, season=season, steps=steps)

    states = ETSModel(
        series, error="add", trend=None, seasonal="add", seasonal_periods=m,
        initialization_method="known", initial_level=level, initial_seasonal=season)
    smoothed = states.smooth([rate["alpha"], rate["gamma"]])
    assert np.allclose(smoothed.fittedvalues, fitted, rtol=1e-12, atol=0), "fitted by states"
    assert np.allclose(smoothed.forecast(steps), forecast, rtol=1e-12, atol=0), "forecast by states"
    return {
        "note": "No trend. gamma is a share of the whole one-step error, as in the textbook; of what the level leaves of it, it "
                "is gamma / (1 - alpha) = 0.2. season[0] is that of the first observation.",
        "season_length": m, **rate, "level": level, "season": rounded(season), "series": rounded(series),
        "fitted": rounded(smoothed.fittedvalues), "forecast": rounded(smoothed.forecast(steps)),
        "end": {"level": rounded(end[0]), "season": rounded(end[2])},
    }


def damped_holt(random):
    n, steps = 200, 30
    series = given(50 + np.cumsum(random.normal(0.1, 1, n)) + random.normal(0, 2, n))
    state = dict(level=50.0, trend=0.0)
    rate = dict(alpha=0.4, beta=0.1, phi=0.9)
    fitted, forecast, end = additive(series, **rate, **state, gamma=0.0, season=[], steps=steps)

    model = Holt(series, damped_trend=True, initialization_method="known",
                 initial_level=state["level"], initial_trend=state["trend"])
    with_rates = model.fit(smoothing_level=rate["alpha"], smoothing_trend=rate["beta"],
                           damping_trend=rate["phi"], optimized=False)
    assert np.allclose(with_rates.fittedvalues, fitted, rtol=1e-12, atol=0), "fitted"
    assert np.allclose(with_rates.forecast(steps), forecast, rtol=1e-12, atol=0), "forecast"
    return {
        "note": "beta is the textbook's beta*, statsmodels' smoothing_trend.",
        **rate, **state, "series": rounded(series),
        "fitted": rounded(with_rates.fittedvalues), "forecast": rounded(with_rates.forecast(steps)),
        "end": {"level": rounded(end[0]), "trend": rounded(end[1])},
    }


def ewma(random):
    series = given(random.gamma(4, 25, 60))
    alpha, initial = 0.2, float(given(series[:5].mean()))
    # y(t) = alpha x(t) + (1 - alpha) y(t-1), as a filter.
    smoothed, _ = signal.lfilter([alpha], [1, alpha - 1], series, zi=[(1 - alpha) * initial])
    return {"note": "smoothed[t] includes series[t].", "alpha": alpha, "initial": initial,
            "series": rounded(series), "smoothed": rounded(smoothed)}


def design(random, n, k):
    return given(random.normal(size=(n, k)) * [1, 2, 0.5, 5][:k] + [0, 1, 3, -2][:k])


def pinball(tau, actual, bound):
    return np.maximum(tau * (actual - bound), (tau - 1) * (actual - bound))


def quantile_regression(random):
    n, k = 500, 4
    x = design(random, n, k)
    spread = 1 + 0.3 * np.abs(x[:, 1])
    y = given(10 + x @ [2, -1, 4, 0.5] + spread * random.standard_t(4, n))
    full = np.column_stack([np.ones(n), x])
    fits = []
    for tau in (0.5, 0.95):
        # min sum(tau u + (1 - tau) v)  with  X b + u - v = y,  u, v >= 0.
        cost = np.concatenate([np.zeros(k + 1), np.full(n, tau), np.full(n, 1 - tau)])
        rows = np.hstack([full, np.eye(n), -np.eye(n)])
        bounds = [(None, None)] * (k + 1) + [(0, None)] * (2 * n)
        exact = linprog(cost, A_eq=rows, b_eq=y, bounds=bounds, method="highs-ds")
        assert exact.success, exact.message
        iterated = QuantReg(y, full).fit(q=tau, max_iter=10_000, p_tol=1e-9)
        beta = exact.x[:k + 1]
        fits.append({
            "tau": tau,
            "exact": {"coefficients": rounded(beta), "loss": rounded(pinball(tau, y, full @ beta).mean())},
            "statsmodels": {"coefficients": rounded(iterated.params),
                            "loss": rounded(pinball(tau, y, full @ iterated.params).mean())},
        })
    return {
        "note": "Coefficients: the intercept first. loss is the mean pinball loss. exact is the linear programme's vertex, "
                "by HiGHS' dual simplex; statsmodels iterates reweighted least squares and stops near it.",
        "x": rounded(x), "y": rounded(y), "fits": fits,
    }


def ridge(random):
    n, k = 120, 4
    x = design(random, n, k)
    y = given(7 + x @ [1.5, -2, 0.3, 0.8] + random.normal(0, 2, n))
    fits = []
    for penalty in (0.0, 1.0, 100.0):
        # The intercept is free: augmented least squares with a zero row for it, by QR, not by normal equations.
        full = np.column_stack([np.ones(n), x])
        rows = np.vstack([full, np.sqrt(penalty) * np.eye(k + 1)[1:]])
        beta = np.linalg.lstsq(rows, np.concatenate([y, np.zeros(k)]), rcond=None)[0]
        centred = x - x.mean(axis=0)
        other = np.linalg.solve(centred.T @ centred + penalty * np.eye(k), centred.T @ (y - y.mean()))
        assert np.allclose(beta[1:], other, rtol=1e-9), "two ways, one answer"
        fits.append({"penalty": penalty, "intercept": rounded(beta[0]), "coefficients": rounded(beta[1:])})
    in_proportion = []
    squares = (x ** 2).sum(axis=0)
    for penalty in (1e-3, 0.1, 2.0):
        full = np.column_stack([np.ones(n), x])
        rows = np.vstack([full, np.diag(np.sqrt(penalty * np.concatenate([[0.0], squares])))[1:]])
        beta = np.linalg.lstsq(rows, np.concatenate([y, np.zeros(k)]), rcond=None)[0]
        in_proportion.append({"penalty": penalty, "intercept": rounded(beta[0]), "coefficients": rounded(beta[1:])})
    return {"note": "fits: least |y - b0 - x b|^2 + penalty |b|^2: a sum, not a mean; columns are not standardised. "
                    "in_proportion: least |y - b0 - x b|^2 + penalty sum(|x_j|^2 b_j^2), the penalty in each column's own unit.",
            "x": rounded(x), "y": rounded(y), "fits": fits, "in_proportion": in_proportion}


def periods(random):
    n, period = 1024, 32
    t = np.arange(n)
    series = given(50 + 6 * np.sin(2 * np.pi * t / period + 1) + random.normal(0, 4, n))
    power = np.abs(np.fft.rfft(series - series.mean())) ** 2 / n
    lags = [1, 8, 16, 31, 32, 33, 64, 96]
    return {
        "note": "power is |sum x exp(-2 pi i k t/n)|^2 / n of the series less its mean. Autocorrelations are the biased "
                "ones: sums over n - lag pairs, over the sum of all n squares.",
        "series": rounded(series), "peak_bin": int(power[1:].argmax()) + 1,
        "power": [{"bin": k, "value": rounded(power[k])} for k in (1, 2, 31, 32, 33, 100, 511, 512)],
        "autocorrelations": [{"lag": lag, "value": rounded(acf(series, nlags=max(lags), fft=False)[lag])}
                             for lag in lags],
    }


def conformal(random):
    cases = []
    for n in (1, 2, 5, 19, 20, 99, 100, 1440):
        scores = given(random.normal(0, 10, n))
        for tau in (0.5, 0.9, 0.95, 0.99, 0.999):
            # In integers of thousandths: 0.95 * 20 in doubles may be more than 19.
            rank = min(n - 1, -(-round(tau * 1000) * (n + 1) // 1000) - 1)
            case = {"n": n, "tau": tau, "rank": rank}
            if n <= 100:
                case["quantile"] = rounded(np.sort(scores)[rank])
            cases.append(case)
        if n <= 100:
            cases[-5]["scores"] = rounded(scores)
    return {"note": "0-based rank min(n - 1, ceil(tau (n + 1)) - 1) of the sorted scores, the product exact, not in "
                    "doubles. Scores are with the first case of their n; there are none for n above 100.",
            "cases": cases}


def losses():
    actual = given([10, 10, 10, 0, 3.5, 120])
    bound = given([8, 10, 13, 0, 7.25, 60])
    return {"note": "max(tau (y - b), (tau - 1)(y - b)).", "actual": rounded(actual), "bound": rounded(bound),
            "losses": [{"tau": tau, "each": rounded(pinball(tau, actual, bound)),
                        "mean": rounded(pinball(tau, actual, bound).mean())} for tau in (0.5, 0.9, 0.95, 0.99)]}


def main():
    parts = {
        "holt_winters": holt_winters(np.random.default_rng(1)),
        "damped_holt": damped_holt(np.random.default_rng(2)),
        "quantile_regression": quantile_regression(np.random.default_rng(3)),
        "ridge": ridge(np.random.default_rng(4)),
        "ewma": ewma(np.random.default_rng(5)),
        "periods": periods(np.random.default_rng(6)),
        "conformal": conformal(np.random.default_rng(7)),
        "pinball": losses(),
        "seasonal": seasonal(np.random.default_rng(8)),
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(part)}" for name, part in parts.items())
    pathlib.Path(__file__).with_name("golden.json").write_text("{\n" + lines + "\n}\n")


if __name__ == "__main__":
    main()
