"""Data sets of faces: reading them, choosing the images of each epoch, augmentation."""
