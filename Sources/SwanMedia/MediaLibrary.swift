import CMedia

/// The FFmpeg libraries this process uses.
package enum MediaLibrary {
    /// The version, such as `5.1.9`.
    package static var version: String { String(cString: cm_library_version()) }

    /// The license of the build, such as `GPL version 2 or later`, which applies to distributed
    /// binaries.
    package static var license: String { String(cString: cm_library_license()) }

    /// Loads FFmpeg's filters before a process gives up opening files; otherwise, the first frame that
    /// needs them loads them. Without them, such frames stay as they are.
    package static func loadFilters() { _ = cm_filters_load() }

    /// Whether an encoder, such as `libx264`, is included in the build.
    package static func hasEncoder(_ name: String) -> Bool { cm_has_encoder(name) }
}
