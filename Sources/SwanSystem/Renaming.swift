import CSystem

/// Gives a file or folder a name that nothing may have yet.
///
/// - Returns: 0, or the error's number: `EEXIST` where something has the name.
public func renameToNewName(_ path: String, _ target: String) -> Int32 {
    cs_rename_new(path, target)
}
