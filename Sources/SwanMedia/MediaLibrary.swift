import CMedia

/// The FFmpeg libraries this process uses.
public enum MediaLibrary {
    /// Such as `5.1.9`.
    public static var version: String { String(cString: cm_library_version()) }

    /// The licence of the build, such as `GPL version 2 or later`: it binds who ships binaries with it.
    public static var license: String { String(cString: cm_library_license()) }

    /// Whether an encoder of that name, such as `libx264`, was built in.
    public static func hasEncoder(_ name: String) -> Bool { cm_has_encoder(name) }
}
