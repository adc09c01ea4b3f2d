"""scikit-learn, of the extra `analysis`: what several analyses learn with."""

from __future__ import annotations

from image_similarity.errors import ExtraMissing


def require(what: str) -> None:
    """Refuse to begin without scikit-learn; `what` needs it, such as "a map".

    Raises:
        ExtraMissing.
    """
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise ExtraMissing(
            f"{what} needs the package scikit-learn, which is not installed",
            hint='pip install "image_similarity[analysis]"',
        ) from error
