"""What pyproject.toml cannot say: the migrations stand at the top level and ship inside the package."""

from setuptools import find_packages, setup

MIGRATIONS = "image_similarity._migrations"

setup(
    packages=[*find_packages(include=["image_similarity*"]), MIGRATIONS, f"{MIGRATIONS}.versions"],
    package_dir={MIGRATIONS: "migrations", f"{MIGRATIONS}.versions": "migrations/versions"},
    package_data={
        "image_similarity": ["py.typed"],
        "image_similarity.encoding": ["weights/*"],
        "image_similarity.golden": ["*.jpg", "*.png"],
        "image_similarity.reports": ["templates/*"],
        "image_similarity.web": ["texts.json", "templates/*", "static/*"],
        MIGRATIONS: ["*.mako", "README*"],
    },
)
