"""Data sets of faces: reading folders, choosing each epoch's images, augmentation."""
