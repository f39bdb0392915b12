"""How good generated samples are, from what a classifier makes of them: Fréchet distance and class scores.

Logarithms are natural. Scores depend on the classifier, on how many samples there are and on what they are
compared with: they say something between models that were scored in the same way, and nothing else.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def frechet_distance(reference: npt.ArrayLike, generated: npt.ArrayLike) -> float:
    """Return the Fréchet distance of two sets of features, (N, D) and (M, D), as if both were Gaussian.

    |μ₁ − μ₂|² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), the FID (Heusel et al., 2017); 0 for the same mean and covariance.
    It is too large for few samples, the more so the wider the features are.

    Raises:
        ValueError: if a set has fewer than two rows.
    """
    one, other = np.asarray(reference, dtype=np.float64), np.asarray(generated, dtype=np.float64)
    if min(len(one), len(other)) < 2:
        raise ValueError("a covariance takes two samples at least")
    covariance, covariance_other = (np.atleast_2d(np.cov(rows, rowvar=False)) for rows in (one, other))
    root = _square_root(covariance)
    # Σ₁ Σ₂ has the eigenvalues of the symmetric Σ₁^½ Σ₂ Σ₁^½, whose rounding errors are no complex numbers.
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ covariance_other @ root), 0)).sum()
    means = np.square(one.mean(axis=0) - other.mean(axis=0)).sum()
    return float(max(means + np.trace(covariance) + np.trace(covariance_other) - 2 * shared, 0.0))


def inception_score(log_probabilities: npt.ArrayLike) -> float:
    """Return exp of the mean KL(p(y|x) ‖ p(y)), 1 to K, of log-probabilities (N, K) of classes.

    High where each sample is surely of one class and all classes are as frequent (Salimans et al., 2016).
    p(y) is the mean over the same samples.
    """
    log_p = np.asarray(log_probabilities, dtype=np.float64)
    p = np.exp(log_p)
    return float(np.exp(np.sum(p * (log_p - _log(p.mean(axis=0))), axis=1).mean()))


def modified_inception_score(log_probabilities: npt.ArrayLike) -> float:
    """Return exp of the mean KL(p(y|x) ‖ p(y|x′)) over all pairs, 1 or more, of log-probabilities (N, K).

    High where samples are of different classes, and one of a class differs from another
    (Gurumurthy et al., 2017). The mean over pairs splits into a mean of products and a product of means.
    """
    log_p = np.asarray(log_probabilities, dtype=np.float64)
    p = np.exp(log_p)
    own = np.sum(p * log_p, axis=1).mean()
    return float(np.exp(own - p.mean(axis=0) @ log_p.mean(axis=0)))


def am_score(reference: npt.ArrayLike, generated: npt.ArrayLike) -> float:
    """Return KL(p_reference(y) ‖ p_generated(y)) + mean entropy of p(y|x), 0 or more: lower is better.

    Args:
        reference: Log-probabilities (N, K) of classes for real data.
        generated: Those for generated samples (M, K).

    The first part asks for the classes of the real data, the second for sure samples (Zhou et al., 2018).
    """
    real, log_p = np.asarray(reference, dtype=np.float64), np.asarray(generated, dtype=np.float64)
    p_real, p = np.exp(real).mean(axis=0), np.exp(log_p)
    among = np.sum(p_real * (_log(p_real) - _log(p.mean(axis=0))))
    return float(among - np.sum(p * log_p, axis=1).mean())


def _square_root(covariance: Floats) -> Floats:
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


def _log(probabilities: Floats) -> Floats:
    """Return logarithms, of nothing the smallest there is: 0 log 0 is 0, and the others stay finite."""
    logarithms: Floats = np.log(np.maximum(probabilities, np.finfo(np.float64).tiny))
    return logarithms
