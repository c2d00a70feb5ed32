"""The sonotune engine: fold-aware hyperparameter search of breast-ultrasound networks on Ray."""

__version__ = "0.1.0"
